//! Files of `torch.save`: those that Python wrote are read value for value, hostile ones are errors that name what they try.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};
use tch_transformers::Error;
use tch_transformers::weights::TensorSource;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn written_by_python(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    fs::read(path).unwrap()
}

/// A folder whose `pytorch_model.bin` holds `bytes`.
fn checkpoint(bytes: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pytorch_model.bin"), bytes).unwrap();
    folder
}

fn open(bytes: &[u8]) -> Result<TensorSource, Error> {
    TensorSource::open(checkpoint(bytes).path())
}

fn refusal(bytes: &[u8]) -> String {
    match open(bytes) {
        Err(error @ Error::WeightsFile { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refuses(bytes: &[u8], parts: &[&str]) {
    let message = refusal(bytes);
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in `{message}`");
    }
}

/// The same tensors in both layouts and all protocols of pickle.
fn all_written_by_python() -> Vec<(String, Vec<u8>)> {
    let names = ["zip", "legacy"]
        .iter()
        .flat_map(|layout| (2..=5).map(move |protocol| format!("torch_{layout}_{protocol}.bin")));
    names.map(|name| (name.clone(), written_by_python(&name))).collect()
}

#[test]
fn what_python_wrote_is_read_value_for_value() {
    let shared = Tensor::arange(12, (Kind::Float, Device::Cpu)).view([3, 4]);
    let expected = [
        ("weight", Tensor::from_slice(&[1f32, 2., 3., 4., 5., 6.]).view([3, 2])),
        ("bias", Tensor::from_slice(&[-1f32, 0.5, 0.25])),
        ("shared.whole", shared.shallow_clone()),
        ("shared.rows", shared.narrow(0, 1, 2)),
        ("shared.columns", shared.narrow(1, 1, 2)),
        ("shared.transposed", shared.tr()),
        ("shared.every_other", Tensor::from_slice(&[0f32, 3., 8., 11.]).view([2, 2])),
        ("shared.repeated", Tensor::full([3, 2], 4.0, (Kind::Float, Device::Cpu))),
        ("parameter", Tensor::from_slice(&[7f32, 8.])),
        ("scalar", Tensor::from(2.5f64)),
        ("empty", Tensor::zeros([0, 3], (Kind::Float, Device::Cpu))),
        ("half", Tensor::from_slice(&[0.5f32, -2.]).to_kind(Kind::Half)),
        ("bfloat16", Tensor::from_slice(&[1.5f32, -3.]).to_kind(Kind::BFloat16)),
        ("int64", Tensor::from_slice(&[1i64, -(1 << 40)])),
        ("int32", Tensor::from_slice(&[3i32, -4])),
        ("int16", Tensor::from_slice(&[5i16, -6])),
        ("int8", Tensor::from_slice(&[7i8, -8])),
        ("uint8", Tensor::from_slice(&[9u8, 255])),
        ("bool", Tensor::from_slice(&[true, false])),
    ];
    let mut names = expected.each_ref().map(|(name, _)| *name);
    names.sort_unstable();
    for (file, bytes) in all_written_by_python() {
        let source = open(&bytes).unwrap();
        assert_eq!(source.names(), names, "{file}");
        for (name, tensor) in &expected {
            let read = source.tensor(name).unwrap();
            assert_eq!(source.shape(name), Some(tensor.size()), "{name} of {file}");
            assert_eq!((source.kind(name), read.kind()), (Some(tensor.kind()), tensor.kind()), "{name} of {file}");
            assert!(read.is_contiguous() && read.equal(tensor), "{name} of {file}");
        }
        assert!(source.tensor("other").unwrap_err().to_string().contains("no tensor `other`"));
    }
}

#[test]
fn files_with_an_index() {
    let folder = checkpoint(&written_by_python("torch_zip_2.bin"));
    let name = "pytorch_model-00001-of-00001.bin";
    fs::rename(folder.path().join("pytorch_model.bin"), folder.path().join(name)).unwrap();
    let index = format!(r#"{{"weight_map": {{"bias": "{name}", "half": "{name}"}}}}"#);
    fs::write(folder.path().join("pytorch_model.bin.index.json"), index).unwrap();
    let source = TensorSource::open(folder.path()).unwrap();
    assert_eq!(source.names().len(), 19);
    assert!(source.tensor("bias").unwrap().equal(&Tensor::from_slice(&[-1f32, 0.5, 0.25])));
}

#[test]
fn what_is_not_a_dictionary_of_tensors_is_named() {
    refuses(&written_by_python("torch_training.bin"), &["holds a number under \"epoch\"", "state_dict()"]);
    refuses(&written_by_python("torch_module.bin"), &["the name `torch.nn.modules.linear.Linear` is not allowed"]);
    refuses(&written_by_python("torch_nested.bin"), &["holds a dictionary under \"model\"", "state_dict()"]);
    refuses(
        &written_by_python("torch_legacy_module.bin"),
        &["the name `torch.nn.modules.linear.Linear` is not allowed"],
    );
    refuses(b"", &["begins neither as a zip archive"]);
    refuses(b"<html>", &["begins neither as a zip archive"]);
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    for (file, whole) in all_written_by_python() {
        let last = whole.len() - 22..whole.len();
        for length in (0..whole.len()).step_by(if file.contains("_2") { 13 } else { 97 }).chain(last) {
            assert!(open(&whole[..length]).is_err(), "{file} of {length} bytes");
        }
    }
}

/// An archive with `pickle` and one storage `0` of 6 floats, besides `more`.
fn archive(pickle: &[u8], method: CompressionMethod, more: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let floats: Vec<u8> = (0..6u8).flat_map(|value| f32::from(value).to_le_bytes()).collect();
    for (name, bytes) in [("model/data.pkl", pickle), ("model/data/0", &floats[..])].iter().chain(more) {
        zip.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn stored(pickle: &[u8]) -> Vec<u8> {
    archive(pickle, CompressionMethod::Stored, &[])
}

fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn long(number: i64) -> Vec<u8> {
    [&[0x8a, 8], &number.to_le_bytes()[..]].concat()
}

fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(", &items.concat()[..], b"t"].concat()
}

fn longs(numbers: &[i64]) -> Vec<u8> {
    tuple(&numbers.iter().map(|number| long(*number)).collect::<Vec<_>>())
}

/// The description of a storage of `class`.
fn storage(class: &str, key: &str, numel: i64) -> Vec<u8> {
    let class = format!("ctorch\n{class}\n").into_bytes();
    [tuple(&[text("storage"), class, text(key), text("cpu"), long(numel)]), b"Q".to_vec()].concat()
}

/// A call that makes a tensor.
fn tensor(storage: Vec<u8>, offset: i64, size: &[i64], stride: &[i64]) -> Vec<u8> {
    let arguments = tuple(&[storage, long(offset), longs(size), longs(stride), b"\x89".to_vec(), b"}".to_vec()]);
    [b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec(), arguments, b"R".to_vec()].concat()
}

/// A whole pickle: a dictionary with `value` under `w`.
fn dictionary(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02}", &text("w")[..], value, b"s."].concat()
}

fn six(offset: i64, size: &[i64], stride: &[i64]) -> Vec<u8> {
    stored(&dictionary(&tensor(storage("FloatStorage", "0", 6), offset, size, stride)))
}

#[test]
fn strides_and_offsets_stay_inside_the_storage() {
    let source = open(&six(1, &[2, 2], &[1, 2])).unwrap();
    assert!(source.tensor("w").unwrap().equal(&Tensor::from_slice(&[1f32, 3., 2., 4.]).view([2, 2])));
    assert_eq!(open(&six(0, &[0, i64::MAX], &[1, 1])).unwrap().shape("w"), Some(vec![0, i64::MAX]));
    for (offset, size, stride, why) in [
        (0, &[7][..], &[1][..], "more values than its storage of 6"),
        (1, &[6], &[1], "reaches beyond"),
        (i64::MAX, &[2], &[1], "reaches beyond"),
        (0, &[2, 3], &[4, 1], "reaches beyond"),
        (0, &[2], &[i64::MAX], "reaches beyond"),
        (5, &[6], &[-1], "negative"),
        (-1, &[2], &[1], "negative"),
        (0, &[-2, -3], &[1, 1], "negative"),
        (0, &[1 << 40], &[0], "more values"),
        (0, &[1 << 32, 1 << 32], &[0, 0], "larger than any memory"),
        (0, &[1 << 32, 1 << 32, 0], &[0, 0, 0], "larger than any memory"),
        (0, &[2, 3], &[1], "one stride for each dimension"),
        (0, &[1; 17], &[1; 17], "more than 16 dimensions"),
    ] {
        refuses(&six(offset, size, stride), &[why]);
    }
}

#[test]
fn storages_are_in_the_file_and_as_large_as_they_say() {
    let file = |storage| stored(&dictionary(&tensor(storage, 0, &[1], &[1])));
    refuses(&file(storage("FloatStorage", "1", 6)), &["storage \"1\" is missing"]);
    refuses(&file(storage("FloatStorage", "../data.pkl", 6)), &["is missing"]);
    for (class, numel) in [("FloatStorage", 7), ("FloatStorage", i64::MAX), ("ByteStorage", 6)] {
        refuses(&file(storage(class, "0", numel)), &["the storage \"0\" should hold", "24 bytes"]);
    }
    refuses(&file(storage("FloatStorage", "0", -6)), &["the storage \"0\" should hold -6 values"]);
    refuses(&file(storage("ComplexFloatStorage", "0", 3)), &["the name `torch.ComplexFloatStorage` is not allowed"]);
    refuses(&file(storage("nn", "0", 3)), &["`torch.nn`"]);
}

#[test]
fn nothing_is_called_but_what_makes_tensors() {
    for module in ["os", "posix", "nt"] {
        let call =
            [format!("c{module}\nsystem\n").into_bytes(), tuple(&[text("touch /tmp/x")]), b"R".to_vec()].concat();
        refuses(&stored(&dictionary(&call)), &[&format!("the name `{module}.system` is not allowed")]);
    }
    refuses(&stored(&dictionary(b"cbuiltins\neval\n)R")), &["`builtins.eval`"]);
    refuses(&stored(&dictionary(b"ccollections\nOrderedDict.__class__\n")), &["`collections.OrderedDict.__class__`"]);
    refuses(&stored(&dictionary(b"(S'id'\nios\nsystem\n")), &["the opcode STRING (0x53)"]);
    refuses(&stored(&dictionary(b"(ios\nsystem\n")), &["the opcode INST (0x69)"]);
    refuses(&stored(&dictionary(b"(ccollections\nOrderedDict\no")), &["the opcode OBJ"]);
    refuses(&stored(&dictionary(b"ccollections\nOrderedDict\n)\x81")), &["the opcode NEWOBJ (0x81)"]);
    let named = |module: &str, name: &str| dictionary(&[text(module), text(name), b"\x93".to_vec()].concat());
    refuses(&stored(&named("os", "system")), &["the name `os.system` is not allowed"]);
    refuses(&stored(&named("collections", "OrderedDict.__class__")), &["`collections.OrderedDict.__class__`"]);
    refuses(&stored(&dictionary(b"K\x01N\x93")), &["None of a number is no name"]);
    refuses(&stored(&dictionary(b"\xff")), &["0xff, which is no opcode"]);
    refuses(&stored(&dictionary(b"ctorch\nFloatStorage\n)R")), &["REDUCE calls Storage(Float)"]);
    refuses(&stored(&dictionary(b"ccollections\nOrderedDict\n(K\x01tR")), &["REDUCE calls OrderedDict"]);
    refuses(&stored(&dictionary(b"}(tR")), &["REDUCE calls a dictionary"]);
    refuses(&stored(&dictionary(b"ctorch\nFloatStorage\n}b")), &["BUILD gives a dictionary to a name of Python"]);
    let long_name = [b"c".to_vec(), vec![b'x'; 1 << 20], b"\ny\n".to_vec()].concat();
    assert!(refusal(&stored(&dictionary(&long_name))).len() < 500);
}

#[test]
fn the_stack_and_the_memo_are_checked() {
    // A dictionary that contains itself, and one that a tuple inside it contains.
    refuses(&stored(&[b"\x80\x02}q\x00", &text("w")[..], b"h\x00s."].concat()), &["holds a dictionary under \"w\""]);
    refuses(&stored(&[b"\x80\x02}q\x00", &text("w")[..], b"h\x00\x85s."].concat()), &["holds a tuple under \"w\""]);
    refuses(&stored(b"\x80\x02h\x07."), &["the memo has no value 7"]);
    refuses(&stored(b"\x80\x02}r\xff\xff\xff\xff0."), &["the opcode POP"]);
    refuses(&stored(b"\x80\x02."), &["takes more from the stack"]);
    refuses(&stored(b"\x80\x02}(s."), &["takes more from the stack"]);
    refuses(&stored(b"\x80\x02t."), &["no MARK"]);
    refuses(&stored(b"\x80\x02}(K\x01u."), &["a key has no value"]);
    refuses(&stored(b"\x80\x02K\x01(K\x01Nu."), &["a number gets items"]);
    refuses(&stored(b"\x80\x02}K\x01Ns."), &["a key that is a number"]);
    refuses(&stored(b"\x80\x02}K\x01a."), &["a dictionary gets items of a list"]);
    refuses(&stored(b"\x80\x02](}e."), &["holds a list"]);
    refuses(&stored(b"\x80\x05\x95\x00\x00\x00\x00\x00\x00\x00\x80}."), &["it ends too early"]);
    refuses(&stored(b"\x80\x05\x8d\xff\xff\xff\xff\xff\xff\xff\xffab."), &["it ends too early"]);
    refuses(&stored(b"\x80\x05\x8c\x05ab."), &["it ends too early"]);
    refuses(&stored(b"\x80\x01}."), &["protocol 1; 2..=5 are read"]);
    refuses(&stored(b"\x80\x06}."), &["protocol 6"]);
    refuses(&stored(b"\x80\x02N."), &["holds None"]);
    refuses(&stored(b"\x80\x02}"), &["it ends too early"]);
    refuses(&stored(b"\x80\x02cos"), &["it ends too early"]);
    refuses(&stored(b"\x80\x02X\xff\xff\xff\xffab."), &["it ends too early"]);
    refuses(&stored(b"\x80\x02X\x01\x00\x00\x00\xff."), &["not UTF-8"]);
    refuses(&stored(b"\x80\x02\x8a\x09123456789."), &["more than 64 bits"]);
    refuses(&stored(b""), &["it ends too early"]);
}

#[test]
fn deep_and_long_pickles_end() {
    let deep = [b"\x80\x02)".to_vec(), vec![0x85; 1 << 20], b".".to_vec()].concat();
    refuses(&stored(&deep), &["holds a tuple"]);
    refuses(&stored(&vec![b'('; (4 << 20) + 1]), &["more than 4194304 opcodes"]);
}

#[test]
fn archives_are_stored_whole_and_of_this_byte_order() {
    let pickle = dictionary(&tensor(storage("FloatStorage", "0", 6), 0, &[6], &[1]));
    let with = |more: &[(&str, &[u8])]| archive(&pickle, CompressionMethod::Stored, more);
    assert!(open(&with(&[("model/byteorder", b"little")])).is_ok());
    refuses(&with(&[("model/byteorder", b"big")]), &["byte order"]);
    refuses(&with(&[("other/data.pkl", b"")]), &["two entries data.pkl"]);
    let mut empty = ZipWriter::new(Cursor::new(Vec::new()));
    empty.start_file("a", SimpleFileOptions::default().compression_method(CompressionMethod::Stored)).unwrap();
    refuses(&empty.finish().unwrap().into_inner(), &["without a data.pkl"]);
}

/// The archive with the field at `local` of each local header and `central` of each central header set to `value`.
fn with_field(mut file: Vec<u8>, (local, central): (usize, usize), value: &[u8]) -> Vec<u8> {
    for (signature, field) in [(b"PK\x03\x04", local), (b"PK\x01\x02", central)] {
        let starts: Vec<_> = (0..file.len() - 4).filter(|at| &file[*at..at + 4] == signature).collect();
        for start in starts {
            file[start + field..start + field + value.len()].copy_from_slice(value);
        }
    }
    file
}

#[test]
fn compressed_entries_are_refused_before_they_are_unpacked() {
    let file = stored(&dictionary(&tensor(storage("FloatStorage", "0", 6), 0, &[6], &[1])));
    refuses(&with_field(file.clone(), (8, 10), &8u16.to_le_bytes()), &["is compressed or encrypted"]);
    refuses(&with_field(file.clone(), (6, 8), &1u16.to_le_bytes()), &["is compressed or encrypted"]);
    refuses(&with_field(file.clone(), (22, 24), &u32::MAX.to_le_bytes()[..3]), &["is compressed or encrypted"]);
    let sizes = [0x7fu8, 0xff, 0xff, 0, 0x7f, 0xff, 0xff, 0];
    refuses(&with_field(file, (18, 20), &sizes), &["reaches beyond the end of the file"]);
}

#[test]
fn changed_bytes_never_panic() {
    let path: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("changed");
    fs::create_dir_all(&path).unwrap();
    for (file, whole) in all_written_by_python() {
        for at in (0..whole.len()).step_by(if file.contains("_2") { 11 } else { 61 }) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(path.join("pytorch_model.bin"), bytes).unwrap();
            if let Ok(source) = TensorSource::open(&path) {
                let _ = source.into_memory();
            }
        }
    }
}

#[test]
fn tensors_that_share_a_storage_are_few() {
    let many = |count: usize| {
        let one =
            |at: usize| [text(&at.to_string()), tensor(storage("FloatStorage", "0", 1 << 14), 0, &[1 << 14], &[1])];
        let pickle = [b"\x80\x02}(".to_vec(), (0..count).flat_map(one).flatten().collect(), b"u.".to_vec()].concat();
        legacy(&pickle, &["0"], &[(1 << 14, vec![0; 4 << 14])])
    };
    assert!(open(&many(64)).is_ok());
    refuses(&many(300), &["more than 64 times its own size"]);
}

/// A file of the older layout: `storages` are numbers of values, and bytes.
fn legacy(pickle: &[u8], keys: &[&str], storages: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let little = [b"\x80\x02}", &text("little_endian")[..], b"\x88s."].concat();
    let keys = [b"\x80\x02](".to_vec(), keys.iter().flat_map(|key| text(key)).collect(), b"e.".to_vec()].concat();
    let storages = storages.iter().flat_map(|(numel, bytes)| [&numel.to_le_bytes()[..], bytes].concat()).collect();
    [MAGIC.to_vec(), VERSION.to_vec(), little, pickle.to_vec(), keys, storages].concat()
}

const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
const VERSION: &[u8] = b"\x80\x02M\xe9\x03.";

#[test]
fn what_follows_the_pickle_of_the_older_layout_is_checked() {
    let floats = || vec![0u8; 24];
    let pickle = dictionary(&tensor(storage("FloatStorage", "7", 6), 2, &[2, 2], &[2, 1]));
    let file = |keys: &[&str], storages: &[(i64, Vec<u8>)]| legacy(&pickle, keys, storages);
    assert_eq!(open(&file(&["7"], &[(6, floats())])).unwrap().shape("w"), Some(vec![2, 2]));
    refuses(&file(&[], &[]), &["the storage \"7\" is missing"]);
    refuses(&file(&["7"], &[]), &["the storage \"7\" reaches beyond its end"]);
    for numel in [7, -1, i64::MAX, i64::MIN] {
        refuses(&file(&["7"], &[(numel, floats())]), &["the storage \"7\" reaches beyond its end"]);
    }
    refuses(&file(&["7"], &[(5, vec![0; 20])]), &["should hold 6 values of Float and has 20 bytes"]);
    refuses(&file(&["7"], &[(6, vec![0; 25])]), &["1 bytes after its last storage"]);
    refuses(&file(&["7", "8"], &[(6, floats()), (6, floats())]), &["a storage \"8\" that no tensor lies in"]);
    refuses(&file(&["7", "7"], &[(6, floats()), (6, floats())]), &["two storages \"7\""]);
    refuses(&legacy(&dictionary(b"N"), &[], &[]), &["holds None under \"w\""]);
    refuses(&legacy(b"\x80\x02}cos\nsystem\n", &[], &[]), &["`os.system` is not allowed", "counted from byte"]);
    refuses(&[MAGIC, b"\x80\x02M\xe8\x03."].concat(), &["version 1000", "1001 is read"]);
    refuses(&[MAGIC, b"\x80\x02}."].concat(), &["its version is no number"]);
    refuses(&[MAGIC, VERSION, b"\x80\x02}."].concat(), &["in which byte order"]);
    let big = [b"\x80\x02}", &text("little_endian")[..], b"\x89s."].concat();
    refuses(&[MAGIC, VERSION, &big].concat(), &["the other byte order"]);
    let keys = [&file(&[], &[])[..file(&[], &[]).len() - 6], b"\x80\x02]K\x01a."].concat();
    refuses(&keys, &["its list of storages is none"]);
    let part = [
        &tuple(&[text("storage"), b"ctorch\nFloatStorage\n".to_vec(), text("7"), text("cpu"), long(6), tuple(&[])])[..],
        b"Q",
    ];
    refuses(&legacy(&dictionary(&part.concat()), &[], &[]), &["is a part of another"]);
}
