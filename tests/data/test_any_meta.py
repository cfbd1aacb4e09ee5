"""Whatever JSON a meta.json holds: the samples that it lists, each checked, or one line."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from adbench.data.meta import read_meta
from adbench.data.sample import Sample
from adbench.errors import UserError

FILES = ("a/1.png", "a/2.png", "gt/1.png")
NAMES = st.sampled_from(["wood", "01", "Null", "a b", "x/y", "..", "", "Holz-Fläche", "木"])
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.sampled_from(FILES)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=4), inner, max_size=2)),
    max_leaves=5,
)
PATHS = st.sampled_from([*FILES, "./a/1.png", "a\\1.png", "/elsewhere/root/a/1.png", "../root/a/1.png", "gt", "\0", ""])
FIELDS = {
    "img_path": st.one_of(PATHS, ANYTHING),
    "mask_path": st.one_of(PATHS, ANYTHING),
    "cls_name": st.one_of(NAMES, ANYTHING),
    "specie_name": st.one_of(NAMES, ANYTHING),
    "anomaly": st.one_of(st.sampled_from([0, 1, "0", "1", True, 1.0]), ANYTHING),
}
PROPER = st.fixed_dictionaries(
    {
        "img_path": st.sampled_from(FILES[:2]),
        "mask_path": st.sampled_from(["", FILES[2]]),
        "cls_name": st.sampled_from(["wood", "01", "a b", "木"]),
        "specie_name": st.sampled_from(["good", "crack"]),
        "anomaly": st.sampled_from([0, 1]),
    }
)
SPLIT = st.dictionaries(st.sampled_from(["wood", "木"]), st.lists(PROPER, min_size=1, max_size=3), min_size=1)


@st.composite
def indices(draw):
    """A proper index with one thing in it that is none, or not there."""
    content = {"train": draw(st.one_of(st.just({}), SPLIT)), "test": draw(SPLIT)}
    split = draw(st.sampled_from([name for name, classes in content.items() if classes]))
    class_name = draw(st.sampled_from(sorted(content[split])))
    match draw(st.sampled_from(["field", "field", "field", "missing", "record", "class", "class name", "split"])):
        case "field":
            field = draw(st.sampled_from(sorted(FIELDS)))
            content[split][class_name][0][field] = draw(FIELDS[field])
        case "missing":
            del content[split][class_name][0][draw(st.sampled_from(sorted(FIELDS)))]
        case "record":
            content[split][class_name].append(draw(ANYTHING))
        case "class":
            content[split][class_name] = draw(ANYTHING)
        case "class name":
            content[split] = {draw(NAMES): content[split][class_name]}
        case "split":
            content[draw(st.sampled_from(["Test", "val", ""]))] = draw(st.one_of(SPLIT, ANYTHING))
    return content


def make(root, text):
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "meta.json").write_bytes(text)
    return root


def read(root):
    """The samples, or the line that says why there are none."""
    try:
        return [entry for entry in read_meta(root, dataset="own") if isinstance(entry, Sample)]
    except UserError as error:
        return str(error)


@given(st.one_of(indices(), indices(), indices(), ANYTHING))
def test_any_content_gives_sound_samples_or_one_line(tmp_path, content):
    found = read(make(tmp_path, json.dumps(content).encode()))
    if isinstance(found, str):
        assert "meta.json" in found
        assert "\n" not in found
        return
    records = [record for classes in content.values() for of_class in classes.values() for record in of_class]
    named = [record for record in records if record.get("img_path") != ""]  # of a train split without images
    assert len(found) == len(named)
    for sample, record in zip(found, named, strict=True):
        assert sample.label == int(record["anomaly"])
        assert sample.class_name
        assert sample.class_name == str(record.get("cls_name") or sample.class_name)
        assert sample.label == 1 or (sample.defect == "good" and sample.mask_path is None)
        assert (sample.mask_path is None) == (sample.label == 0 or record.get("mask_path") in ("", None, "gt"))


@given(st.dictionaries(st.sampled_from(["wood", "木"]), st.lists(PROPER, max_size=4), min_size=1))
def test_proper_records_are_read_one_by_one(tmp_path, classes):
    found = read(make(tmp_path, json.dumps({"train": {}, "test": classes}).encode()))
    records = [record for records in classes.values() for record in records]
    if isinstance(found, str):
        bad = [record for record in records if record["anomaly"] and record["specie_name"] == "good"]
        assert bad, found
        return
    assert [(one.key, one.label, one.class_name) for one in found] == [
        (record["img_path"], record["anomaly"], record["cls_name"]) for record in records
    ]
    masks = [
        tmp_path / record["mask_path"] if record["anomaly"] and record["mask_path"] else None for record in records
    ]
    assert [one.mask_path for one in found] == masks


@given(st.binary(max_size=60), st.integers(0, 60))
def test_bytes_that_are_no_json_are_one_line(tmp_path, other, start):
    text = json.dumps({"test": {"wood": [{"img_path": "a/1.png", "anomaly": 0}]}}).encode()
    found = read(make(tmp_path, text[:start] + other))
    assert isinstance(found, (str, list))
