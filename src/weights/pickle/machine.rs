//! A stack machine for the pickle of a dictionary of tensors.

use std::collections::HashMap;

use super::globals::Global;
use super::opcodes as op;
use super::tensors::{Storage, Strided};

/// Opcodes that are read at most: enough for 100,000 tensors, and what a file can make the machine hold stays small.
const MOST_STEPS: usize = 4 << 20;

/// The protocols that `torch.save` writes: 2 where it is not told otherwise.
const PROTOCOLS: std::ops::RangeInclusive<u8> = 2..=5;

/// What to do about a pickle that is refused.
pub(super) const ADVICE: &str = "only what `torch.save(model.state_dict(), path)` writes is read";

/// A value on the stack. Composed ones are positions in the machine's lists, so that no value contains another: one that
/// contains itself is harmless, and deep ones are let go without recursion.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Global(Global),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
}

impl Value<'_> {
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "a number",
            Self::Text(_) => "a text",
            Self::Global(_) => "a name of Python",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dictionary",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

pub(super) type Step<T> = Result<T, String>;

/// The state of the machine, and after its end all that the pickle holds.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    stream: &'a [u8],
    /// Bytes that were read.
    pub(super) at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack at which a MARK stands.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    pub(super) tuples: Vec<Vec<Value<'a>>>,
    pub(super) lists: Vec<Vec<Value<'a>>>,
    pub(super) dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    pub(super) storages: Vec<Storage<'a>>,
    pub(super) tensors: Vec<Strided>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(stream: &'a [u8]) -> Self {
        Self {
            stream,
            at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            tuples: Vec::new(),
            lists: Vec::new(),
            dicts: Vec::new(),
            storages: Vec::new(),
            tensors: Vec::new(),
        }
    }

    /// Runs the pickle that the stream begins with to its end, and gives what it leaves on the stack.
    pub(super) fn run(&mut self) -> Step<Value<'a>> {
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
                if !PROTOCOLS.contains(&protocol) {
                    return Err(format!("protocol {protocol}; {PROTOCOLS:?} are read, and torch.save writes 2"));
                }
            }
            op::FRAME => {
                let length = u64::from_le_bytes(self.array()?);
                let rest = self.stream.len().saturating_sub(self.at);
                if usize::try_from(length).map_or(true, |length| length > rest) {
                    return Err("it ends too early".into());
                }
            }
            op::MARK => self.marks.push(self.stack.len()),
            op::NONE => self.stack.push(Value::None),
            op::NEWTRUE | op::NEWFALSE => self.stack.push(Value::Bool(opcode == op::NEWTRUE)),
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
                self.text(length.into())?;
            }
            op::SHORT_BINUNICODE => {
                let [length] = self.array()?;
                self.text(length.into())?;
            }
            op::BINUNICODE8 => {
                let length = u64::from_le_bytes(self.array()?);
                self.text(length)?;
            }
            op::GLOBAL => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            op::STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (module, name) else {
                    return Err(format!("{} of {} is no name of Python", name.describe(), module.describe()));
                };
                self.global(module, name)?;
            }
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
            op::EMPTY_LIST => {
                self.stack.push(Value::List(self.lists.len()));
                self.lists.push(Vec::new());
            }
            op::APPEND => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            op::APPENDS => {
                let items = self.pop_mark()?;
                self.append(&items)?;
            }
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
            op::MEMOIZE => {
                let index = u32::try_from(self.memo.len()).map_err(|error| error.to_string())?;
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

    /// A text of so many bytes.
    fn text(&mut self, length: u64) -> Step<()> {
        let bytes = self.take(usize::try_from(length).map_err(|_| "it ends too early")?)?;
        let text = std::str::from_utf8(bytes).map_err(|error| format!("a text is not UTF-8: {error}"))?;
        self.stack.push(Value::Text(text));
        Ok(())
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

    pub(super) fn pop(&mut self) -> Step<Value<'a>> {
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

    pub(super) fn push(&mut self, value: Value<'a>) {
        self.stack.push(value);
    }

    fn tuple(&mut self, items: Vec<Value<'a>>) {
        self.stack.push(Value::Tuple(self.tuples.len()));
        self.tuples.push(items);
    }

    pub(super) fn dict(&mut self) {
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

    /// Puts items at the end of the list on top of the stack.
    fn append(&mut self, items: &[Value<'a>]) -> Step<()> {
        let target = self.pop()?;
        self.stack.push(target);
        let list = match target {
            Value::List(at) => self.lists.get_mut(at),
            _ => None,
        };
        list.ok_or_else(|| format!("{} gets items of a list", target.describe()))?.extend(items);
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
}
