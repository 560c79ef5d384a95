//! What a pickle may name and call: that which makes tensors.

use super::globals::Global;
use super::machine::{ADVICE, Machine, Step, Value};
use super::tensors::{MOST_DIMENSIONS, Storage, Strided};

impl<'a> Machine<'a> {
    /// A name of Python; only those that are known.
    pub(super) fn global(&mut self, module: &str, name: &str) -> Step<()> {
        let global = Global::find(module, name).ok_or_else(|| {
            let name: String = format!("{module}.{name}").chars().take(100).collect();
            format!("the name `{}` is not allowed; {ADVICE}", name.escape_debug())
        })?;
        self.push(Value::Global(global));
        Ok(())
    }

    /// A storage: `("storage", class, key, device, number of values)`, and `None` in the older layout, which could tell of a
    /// part of another storage there.
    pub(super) fn persistent(&mut self) -> Step<()> {
        let id = self.pop()?;
        let [
            Value::Text("storage"),
            Value::Global(Global::Storage(kind)),
            Value::Text(key),
            Value::Text(_),
            Value::Int(numel),
            rest @ ..,
        ] = self.items(id)?
        else {
            return Err("what BINPERSID refers to is not the description of a storage".into());
        };
        if !matches!(rest, [] | [Value::None]) {
            return Err(format!(
                "the storage {key:?} is a part of another, as torch has not written for years; {ADVICE}"
            ));
        }
        if *numel < 0 {
            return Err(format!("the storage {key:?} should hold {numel} values"));
        }
        let storage = Storage { key, kind: *kind, numel: *numel };
        self.push(Value::Storage(self.storages.len()));
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
    pub(super) fn reduce(&mut self) -> Step<()> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let items = self.items(arguments)?;
        let Value::Global(global) = callee else {
            return Err(format!("REDUCE calls {}", callee.describe()));
        };
        match (global, items) {
            (Global::OrderedDict, []) => self.dict(),
            (Global::RebuildParameter, [tensor @ Value::Tensor(_), Value::Bool(_), Value::Dict(_)]) => {
                let tensor = *tensor;
                self.push(tensor);
            }
            (
                Global::RebuildTensor,
                [Value::Storage(at), Value::Int(offset), size, stride, Value::Bool(_), Value::Dict(_), rest @ ..],
            ) if self.is_plain(rest) => {
                let storage = self.storages.get(*at).ok_or("there is no such storage")?;
                let tensor = Strided::new((*at, storage), *offset, self.numbers(*size)?, self.numbers(*stride)?)?;
                self.push(Value::Tensor(self.tensors.len()));
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
        self.items(value)?.iter().take(MOST_DIMENSIONS + 1).map(number).collect()
    }

    /// The attributes of an `OrderedDict`, which say nothing about tensors (`_metadata`).
    pub(super) fn build(&mut self) -> Step<()> {
        let (state, target) = (self.pop()?, self.pop()?);
        if !matches!((state, target), (Value::Dict(_), Value::Dict(_))) {
            return Err(format!("BUILD gives {} to {}", state.describe(), target.describe()));
        }
        self.push(target);
        Ok(())
    }
}
