//! What a model computes: tensors under the names that the fields of `transformers`' outputs have.

use tch::Tensor;

/// The tensors that a forward pass returns, in the order of the output class.
///
/// Members of lists and nested outputs have dotted names: `hidden_states.3`, `text_model_output.pooler_output`.
#[derive(Debug, Default)]
pub struct Outputs(Vec<(String, Tensor)>);

impl Outputs {
    /// No outputs yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `tensor` under `name`, or replaces the one there.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) {
        let name = name.into();
        match self.0.iter_mut().find(|(present, _)| *present == name) {
            Some(slot) => slot.1 = tensor,
            None => self.0.push((name, tensor)),
        }
    }

    /// [`Outputs::insert`], chained.
    pub fn with(mut self, name: impl Into<String>, tensor: Tensor) -> Self {
        self.insert(name, tensor);
        self
    }

    /// Adds the members of a list as `name.0`, `name.1`, …
    pub fn insert_list(&mut self, name: &str, tensors: Vec<Tensor>) {
        for (index, tensor) in tensors.into_iter().enumerate() {
            self.insert(format!("{name}.{index}"), tensor);
        }
    }

    /// Adds all of `nested` below `prefix`.
    pub fn insert_nested(&mut self, prefix: &str, nested: Outputs) {
        for (name, tensor) in nested {
            self.insert(format!("{prefix}.{name}"), tensor);
        }
    }

    /// The tensor under `name`.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.iter().find(|(present, _)| present == name).map(|(_, tensor)| tensor)
    }

    /// Takes the tensor under `name` out.
    pub fn take(&mut self, name: &str) -> Option<Tensor> {
        let at = self.0.iter().position(|(present, _)| present == name)?;
        Some(self.0.remove(at).1)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// All names and tensors, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }
}

impl IntoIterator for Outputs {
    type Item = (String, Tensor);
    type IntoIter = std::vec::IntoIter<(String, Tensor)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Extend<(String, Tensor)> for Outputs {
    fn extend<I: IntoIterator<Item = (String, Tensor)>>(&mut self, tensors: I) {
        tensors.into_iter().for_each(|(name, tensor)| self.insert(name, tensor));
    }
}
