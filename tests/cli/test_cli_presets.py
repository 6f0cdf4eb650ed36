"""`nearfar presets`: every implementation, and the way from one of them."""

import nearfar as nf


def test_every_implementation_is_listed(run):
    result = run("presets")
    assert result.exit_code == 0
    text = "".join(result.stdout.split())
    for row in nf.presets.table():
        assert row.name in text
        if row.loss is None:
            assert "".join(row.reason.split()) in text
    assert "NTXent(temperature=1.0,scale=2.0)" in text


def test_what_is_long_goes_on_under_its_beginning(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = run("presets").stdout.splitlines()
    starts = [n for n, line in enumerate(lines) if line.strip().startswith("NTXent(")]
    assert any(not lines[n].rstrip().endswith(")") for n in starts)
    assert all(lines[n + 1].startswith("   ") for n in starts if ")" not in lines[n])


def test_one_with_its_migration(run):
    result = run("presets", "optax/NTXENT")
    assert result.exit_code == 0
    assert "optax.losses.ntxent(z, y, temperature=0.07)" in result.stdout
    assert 'loss = nf.preset("optax/ntxent")' in result.stdout
    assert repr(nf.preset("optax/ntxent")) in result.stdout


def test_one_that_is_not_covered(run):
    result = run("presets", "sentence-transformers/OnlineContrastiveLoss")
    assert result.exit_code == 0
    assert "Not covered yet: it adds up pairs" in result.stdout


def test_a_word_is_searched_for(run):
    result = run("presets", "SimCLR")
    assert result.exit_code == 0
    found = [row.name for row in nf.presets.table() if "simclr" in row.name.lower()]
    assert len(found) > 1
    text = "".join(result.stdout.split())
    assert all(name in text for name in found)
    assert "optax/triplet" not in text


def test_unknown(run):
    result = run("presets", "optax/ntxnet")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: expected a name of nearfar.presets.table(); received")
    assert "'optax/ntxent'" in result.stderr
    assert len(result.stderr.splitlines()) == 1
