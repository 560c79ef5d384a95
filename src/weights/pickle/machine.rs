//! A stack machine for the pickle of a dictionary of tensors.

use std::collections::{BTreeMap, HashMap};

use super::archive::Archive;
use super::globals::Global;
use super::opcodes as op;
use super::tensors::{Storage, Strided};

/// Opcodes that are read at most: enough for 100,000 tensors, and what a file can make the machine hold stays small.
const MOST_STEPS: usize = 4 << 20;

/// The protocol that `torch.save` writes.
const PROTOCOL: u8 = 2;

/// A value on the stack. Composed ones are positions in the machine's lists, so that no value contains another: one that
/// contains itself is harmless, and deep ones are let go without recursion.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    None,
    Bool,
    Int(i64),
    Text(&'a str),
    Global(Global),
    Tuple(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
}

impl Value<'_> {
    fn describe(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool => "a bool",
            Self::Int(_) => "a number",
            Self::Text(_) => "a text",
            Self::Global(_) => "a name of Python",
            Self::Tuple(_) => "a tuple",
            Self::Dict(_) => "a dictionary",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

type Step<T> = Result<T, String>;

struct Machine<'a> {
    archive: &'a Archive,
    stream: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack at which a MARK stands.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    tuples: Vec<Vec<Value<'a>>>,
    dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    storages: Vec<Storage>,
    tensors: Vec<Strided>,
}

/// The tensors of the dictionary that `stream` pickles, with their storages in `archive`.
pub(super) fn state_dict(stream: &[u8], archive: &Archive) -> Result<BTreeMap<String, Strided>, String> {
    let mut machine = Machine {
        archive,
        stream,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        tuples: Vec::new(),
        dicts: Vec::new(),
        storages: Vec::new(),
        tensors: Vec::new(),
    };
    let top = machine.run()?;
    machine.finish(top)
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Step<Value<'a>> {
        for _ in 0..MOST_STEPS {
            let start = self.at;
            let located = |why: String| format!("its pickle is refused at byte {start}: {why}");
            let opcode = self.take(1).map_err(located)?[0];
            if opcode == op::STOP {
                return self.pop().map_err(located);
            }
            self.step(opcode).map_err(located)?;
        }
        Err(format!("its pickle has more than {MOST_STEPS} opcodes"))
    }

    fn step(&mut self, opcode: u8) -> Step<()> {
        match opcode {
            op::PROTO => {
                let [protocol] = self.array()?;
                if protocol != PROTOCOL {
                    return Err(format!(
                        "protocol {protocol}; torch.save writes protocol {PROTOCOL} unless told otherwise"
                    ));
                }
            }
            op::MARK => self.marks.push(self.stack.len()),
            op::NONE => self.stack.push(Value::None),
            op::NEWTRUE | op::NEWFALSE => self.stack.push(Value::Bool),
            op::BININT => {
                let number = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(number.into()));
            }
            op::BININT1 => {
                let number = u8::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(number.into()));
            }
            op::BININT2 => {
                let number = u16::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(number.into()));
            }
            op::LONG1 => self.long()?,
            op::BINUNICODE => {
                let length = u32::from_le_bytes(self.array()?);
                let bytes = self.take(usize::try_from(length).map_err(|error| error.to_string())?)?;
                let text = std::str::from_utf8(bytes).map_err(|error| format!("a text is not UTF-8: {error}"))?;
                self.stack.push(Value::Text(text));
            }
            op::GLOBAL => self.global()?,
            op::BINPERSID => self.persistent()?,
            op::REDUCE => self.reduce()?,
            op::BUILD => self.build()?,
            op::EMPTY_TUPLE => self.tuple(Vec::new()),
            op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => {
                let mut items = Vec::new();
                for _ in 0..=opcode - op::TUPLE1 {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.tuple(items);
            }
            op::TUPLE => {
                let items = self.pop_mark()?;
                self.tuple(items);
            }
            op::EMPTY_DICT => self.dict(),
            op::SETITEM => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])?;
            }
            op::SETITEMS => {
                let items = self.pop_mark()?;
                self.set(&items)?;
            }
            op::BINPUT => {
                let [index] = self.array()?;
                self.put(index.into())?;
            }
            op::LONG_BINPUT => {
                let index = u32::from_le_bytes(self.array()?);
                self.put(index)?;
            }
            op::BINGET => {
                let [index] = self.array()?;
                self.get(index.into())?;
            }
            op::LONG_BINGET => {
                let index = u32::from_le_bytes(self.array()?);
                self.get(index)?;
            }
            other => return Err(format!("{} is not allowed; {ADVICE}", op::describe(other))),
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(count);
        let bytes = end.and_then(|end| self.stream.get(self.at..end)).ok_or("it ends too early")?;
        self.at += count;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| "it ends too early".to_owned())
    }

    fn line(&mut self) -> Step<&'a str> {
        let rest = self.stream.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or("it ends too early")?;
        let line = std::str::from_utf8(self.take(length)?).map_err(|error| format!("a name is not UTF-8: {error}"))?;
        self.take(1)?;
        Ok(line)
    }

    /// An integer of any length, the lowest byte first, in two's complement.
    fn long(&mut self) -> Step<()> {
        let [length] = self.array()?;
        let bytes = self.take(length.into())?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide.get_mut(..bytes.len()).ok_or("a number has more than 64 bits")?.copy_from_slice(bytes);
        self.stack.push(Value::Int(i64::from_le_bytes(wide)));
        Ok(())
    }

    fn pop(&mut self) -> Step<Value<'a>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("it takes more from the stack than there is".into());
        }
        self.stack.pop().ok_or_else(|| "the stack is empty".into())
    }

    fn pop_mark(&mut self) -> Step<Vec<Value<'a>>> {
        let mark = self.marks.pop().ok_or("there is no MARK")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn tuple(&mut self, items: Vec<Value<'a>>) {
        self.stack.push(Value::Tuple(self.tuples.len()));
        self.tuples.push(items);
    }

    fn dict(&mut self) {
        self.stack.push(Value::Dict(self.dicts.len()));
        self.dicts.push(Vec::new());
    }

    fn put(&mut self, index: u32) -> Step<()> {
        let value = self.pop()?;
        self.memo.insert(index, value);
        self.stack.push(value);
        Ok(())
    }

    fn get(&mut self, index: u32) -> Step<()> {
        let value = self.memo.get(&index).ok_or_else(|| format!("the memo has no value {index}"))?;
        self.stack.push(*value);
        Ok(())
    }

    /// Puts keys and values, one after the other, into the dictionary on top of the stack.
    fn set(&mut self, items: &[Value<'a>]) -> Step<()> {
        let target = self.pop()?;
        self.stack.push(target);
        let dict = match target {
            Value::Dict(at) => self.dicts.get_mut(at),
            _ => None,
        };
        let dict = dict.ok_or_else(|| format!("{} gets items", target.describe()))?;
        if !items.len().is_multiple_of(2) {
            return Err("a key has no value".into());
        }
        dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        Ok(())
    }

    fn global(&mut self) -> Step<()> {
        let (module, name) = (self.line()?, self.line()?);
        let global = Global::find(module, name).ok_or_else(|| {
            let name: String = format!("{module}.{name}").chars().take(100).collect();
            format!("the name `{}` is not allowed; {ADVICE}", name.escape_debug())
        })?;
        self.stack.push(Value::Global(global));
        Ok(())
    }

    /// A storage: `("storage", class, key, device, number of values)`.
    fn persistent(&mut self) -> Step<()> {
        let id = self.pop()?;
        let [
            Value::Text("storage"),
            Value::Global(Global::Storage(kind)),
            Value::Text(key),
            Value::Text(_),
            Value::Int(numel),
        ] = self.items(id)?
        else {
            return Err("what BINPERSID refers to is not the description of a storage".into());
        };
        let storage = Storage::find(self.archive, key, *kind, *numel)?;
        self.stack.push(Value::Storage(self.storages.len()));
        self.storages.push(storage);
        Ok(())
    }

    fn items(&self, value: Value<'a>) -> Step<&[Value<'a>]> {
        let items = match value {
            Value::Tuple(at) => self.tuples.get(at),
            _ => None,
        };
        Ok(items.ok_or_else(|| format!("{} stands where a tuple should", value.describe()))?)
    }

    /// The three calls that are known; no other is one.
    fn reduce(&mut self) -> Step<()> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let items = self.items(arguments)?;
        let Value::Global(global) = callee else {
            return Err(format!("REDUCE calls {}", callee.describe()));
        };
        match (global, items) {
            (Global::OrderedDict, []) => self.dict(),
            (Global::RebuildParameter, [tensor @ Value::Tensor(_), Value::Bool, Value::Dict(_)]) => {
                let tensor = *tensor;
                self.stack.push(tensor);
            }
            (
                Global::RebuildTensor,
                [Value::Storage(storage), Value::Int(offset), size, stride, Value::Bool, Value::Dict(_), rest @ ..],
            ) if self.is_plain(rest) => {
                let storage = self.storages.get(*storage).cloned().ok_or("there is no such storage")?;
                let tensor = Strided::new(storage, *offset, self.numbers(*size)?, self.numbers(*stride)?)?;
                self.stack.push(Value::Tensor(self.tensors.len()));
                self.tensors.push(tensor);
            }
            _ => return Err(format!("REDUCE calls {global:?} with arguments that torch.save does not write")),
        }
        Ok(())
    }

    /// Whether what follows the arguments of a tensor marks no conjugated or negated view.
    fn is_plain(&self, metadata: &[Value<'a>]) -> bool {
        match metadata {
            [] | [Value::None] => true,
            [Value::Dict(at)] => self.dicts.get(*at).is_some_and(Vec::is_empty),
            _ => false,
        }
    }

    /// A short tuple of integers; [`Strided::new`] says what it thinks of a long one.
    fn numbers(&self, value: Value<'a>) -> Step<Vec<i64>> {
        let number = |item: &Value<'a>| match item {
            Value::Int(number) => Ok(*number),
            other => Err(format!("{} stands where a number should", other.describe())),
        };
        self.items(value)?.iter().take(super::tensors::MOST_DIMENSIONS + 1).map(number).collect()
    }

    /// The attributes of an `OrderedDict`, which say nothing about tensors (`_metadata`).
    fn build(&mut self) -> Step<()> {
        let (state, target) = (self.pop()?, self.pop()?);
        if !matches!((state, target), (Value::Dict(_), Value::Dict(_))) {
            return Err(format!("BUILD gives {} to {}", state.describe(), target.describe()));
        }
        self.stack.push(target);
        Ok(())
    }

    fn finish(&self, top: Value<'a>) -> Step<BTreeMap<String, Strided>> {
        let Value::Dict(dict) = top else {
            return Err(format!("holds {}, and no dictionary of tensors; {ADVICE}", top.describe()));
        };
        let mut tensors = BTreeMap::new();
        for (key, value) in self.dicts.get(dict).into_iter().flatten() {
            let Value::Text(name) = key else {
                return Err(format!("its dictionary has a key that is {}, and no name; {ADVICE}", key.describe()));
            };
            let tensor = match value {
                Value::Tensor(at) => self.tensors.get(*at),
                _ => None,
            };
            let Some(tensor) = tensor else {
                return Err(format!("holds {} under {name:?}, and no tensor; {ADVICE}", value.describe()));
            };
            tensors.insert((*name).to_owned(), tensor.clone());
        }
        Ok(tensors)
    }
}

const ADVICE: &str = "only what `torch.save(model.state_dict(), path)` writes is read";
