//! What a pickle holds, once it is read.

use std::collections::BTreeMap;

use super::machine::{ADVICE, Machine, Value};
use super::tensors::{Storage, Strided};

/// The object that a pickle makes.
#[derive(Debug)]
pub(super) struct Object<'a> {
    machine: Machine<'a>,
    top: Value<'a>,
}

/// The tensors of a dictionary, and the storages that they lie in.
#[derive(Debug)]
pub(super) struct Description<'a> {
    pub(super) storages: Vec<Storage<'a>>,
    pub(super) tensors: BTreeMap<String, Strided>,
}

impl<'a> Object<'a> {
    /// Reads the pickle that `stream` begins with.
    pub(super) fn read(stream: &'a [u8]) -> Result<Self, String> {
        let mut machine = Machine::new(stream);
        let top = machine.run()?;
        Ok(Self { machine, top })
    }

    /// The bytes that the pickle takes.
    pub(super) fn length(&self) -> usize {
        self.machine.at
    }

    /// The number that it is.
    pub(super) fn number(&self) -> Option<i64> {
        match self.top {
            Value::Int(number) => Some(number),
            _ => None,
        }
    }

    /// The texts of the list that it is.
    pub(super) fn texts(&self) -> Option<Vec<&'a str>> {
        let Value::List(at) = self.top else { return None };
        let text = |item: &Value<'a>| match item {
            Value::Text(text) => Some(*text),
            _ => None,
        };
        self.machine.lists.get(at)?.iter().map(text).collect()
    }

    /// What the dictionary that it is says of `name`, yes or no.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        let Value::Dict(at) = self.top else { return None };
        let flag = |(key, value): &(Value<'a>, Value<'a>)| match (key, value) {
            (Value::Text(key), Value::Bool(value)) if *key == name => Some(*value),
            _ => None,
        };
        self.machine.dicts.get(at)?.iter().find_map(flag)
    }

    /// The tensors of the dictionary that it is.
    pub(super) fn tensors(self) -> Result<Description<'a>, String> {
        let Self { machine, top } = self;
        let Value::Dict(dict) = top else {
            return Err(format!("holds {}, and no dictionary of tensors; {ADVICE}", top.describe()));
        };
        let mut tensors = BTreeMap::new();
        for (key, value) in machine.dicts.get(dict).into_iter().flatten() {
            let Value::Text(name) = key else {
                return Err(format!("its dictionary has a key that is {}, and no name; {ADVICE}", key.describe()));
            };
            let tensor = match value {
                Value::Tensor(at) => machine.tensors.get(*at),
                _ => None,
            };
            let Some(tensor) = tensor else {
                return Err(format!("holds {} under {name:?}, and no tensor; {ADVICE}", value.describe()));
            };
            tensors.insert((*name).to_owned(), tensor.clone());
        }
        Ok(Description { storages: machine.storages, tensors })
    }
}
