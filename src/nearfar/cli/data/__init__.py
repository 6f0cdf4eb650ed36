"""DATA of the command line: files, folders and named sets, checked on the way in."""
