use std::collections::BTreeMap;
use std::fmt;

use tch::Kind;

/// What became of every tensor of a checkpoint, under the names that it has there; each list is sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Tensors that parameters were made of.
    pub applied: Vec<String>,
    /// Those of them that were brought to another kind: name, stored kind, kind of the parameter.
    pub converted: Vec<(String, Kind, Kind)>,
    /// Tensors that the architecture knows and has no use for, such as buffers that it computes itself.
    pub passed_over: Vec<String>,
    /// Parameters that the checkpoint lacks and that were drawn anew, where
    /// [`LoadOptions::allow_new_heads`](super::LoadOptions::allow_new_heads) lets them.
    pub fresh: Vec<String>,
    /// Parameters that the checkpoint has in another shape and that were drawn anew, where
    /// [`LoadOptions::ignore_mismatched_sizes`](super::LoadOptions::ignore_mismatched_sizes) lets them: name, expected,
    /// found.
    pub replaced: Vec<(String, Vec<i64>, Vec<i64>)>,
    /// What did not fit: missing, unused, mis-shaped and damaged tensors.
    pub fit: WeightsReport,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} applied, {} passed over", self.applied.len(), self.passed_over.len())?;
        let mut conversions: BTreeMap<String, usize> = BTreeMap::new();
        for (_, from, to) in &self.converted {
            *conversions.entry(format!("{from:?} to {to:?}")).or_default() += 1;
        }
        for (kinds, count) in conversions {
            writeln!(f, "  converted    {count} from {kinds}")?;
        }
        for name in &self.fresh {
            writeln!(f, "  new          {name}")?;
        }
        for (name, expected, found) in &self.replaced {
            writeln!(f, "  replaced     {name}: expected {expected:?}, found {found:?}")?;
        }
        for name in &self.passed_over {
            writeln!(f, "  passed over  {name}")?;
        }
        if self.fit.is_clean() { Ok(()) } else { write!(f, "{}", self.fit) }
    }
}

/// What did not fit when weights were loaded; every mistake, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WeightsReport {
    /// Tensors that the architecture needs and the checkpoint lacks, with the expected shape.
    pub missing: Vec<(String, Vec<i64>)>,
    /// Tensors that the checkpoint has and nothing asked for.
    pub unused: Vec<String>,
    /// Tensors of another shape: name, expected, found.
    pub mis_shaped: Vec<(String, Vec<i64>, Vec<i64>)>,
    /// Tensors of a dtype that cannot be a parameter: name, found.
    pub wrong_dtype: Vec<(String, String)>,
    /// Tensors that contain NaN.
    pub not_a_number: Vec<String>,
}

impl WeightsReport {
    /// Whether everything fitted.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    /// Whether there is anything but unused tensors.
    pub fn is_usable(&self) -> bool {
        self.missing.is_empty()
            && self.mis_shaped.is_empty()
            && self.wrong_dtype.is_empty()
            && self.not_a_number.is_empty()
    }
}

impl fmt::Display for WeightsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "the weights do not fit: {} missing, {} unused, {} mis-shaped, {} of a wrong dtype, {} with NaN",
            self.missing.len(),
            self.unused.len(),
            self.mis_shaped.len(),
            self.wrong_dtype.len(),
            self.not_a_number.len()
        )?;
        for (name, shape) in &self.missing {
            writeln!(f, "  missing      {name} {shape:?}")?;
        }
        for (name, expected, found) in &self.mis_shaped {
            writeln!(f, "  mis-shaped   {name}: expected {expected:?}, found {found:?}")?;
        }
        for (name, found) in &self.wrong_dtype {
            writeln!(f, "  wrong dtype  {name}: expected a float, found {found}")?;
        }
        for name in &self.not_a_number {
            writeln!(f, "  NaN          {name}")?;
        }
        for name in &self.unused {
            writeln!(f, "  unused       {name}")?;
        }
        Ok(())
    }
}
