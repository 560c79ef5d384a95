use std::fmt;

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
