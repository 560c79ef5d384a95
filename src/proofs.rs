//! What the expansion of `#[hf_model]` asks the compiler to prove.

/// Whether two strings are equal, in a constant.
pub const fn same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// An integer of an entry's `[tiny]` table.
#[derive(Debug)]
pub struct Int(pub i64);
/// A float of an entry's `[tiny]` table.
#[derive(Debug)]
pub struct Float(pub f64);
/// A boolean of an entry's `[tiny]` table.
#[derive(Debug)]
pub struct Bool(pub bool);
/// A string of an entry's `[tiny]` table.
#[derive(Debug)]
pub struct Str(pub &'static str);
/// A list of an entry's `[tiny]` table.
#[derive(Debug)]
pub struct List<T>(pub T);

/// A config field of this type takes a TOML value of type `V`.
#[diagnostic::on_unimplemented(
    message = "a config field of type `{Self}` cannot hold the TOML value `{V}`",
    label = "wrong type in the entry's [tiny] table"
)]
pub trait Accepts<V> {}

/// Proves that `field` takes `value`; never runs.
pub fn accept<F: Accepts<V>, V>(_field: &mut F, _value: V) {}

impl Accepts<Int> for i64 {}
impl Accepts<Int> for f64 {}
impl Accepts<Float> for f64 {}
impl Accepts<Bool> for bool {}
impl Accepts<Str> for String {}
impl Accepts<Str> for crate::nn::Activation {}
impl<F: Accepts<V>, V> Accepts<V> for Option<F> {}
impl<F: Accepts<V>, V> Accepts<List<V>> for Vec<F> {}
