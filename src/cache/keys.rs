use tch::Tensor;

/// Keys and values of past tokens of one layer.
///
/// Storage grows by doubling, or is made at once for as many tokens as the cache is for. A layer that sees a window keeps
/// the tokens of the window only.
#[derive(Debug, Default)]
pub struct KeyValues {
    /// `[batch, heads, capacity, head_dim]` each.
    storage: Option<(Tensor, Tensor)>,
    /// Where in the storage the tokens begin.
    start: i64,
    len: i64,
    /// Whether another cache has the same storage, so that it is not written to.
    shared: bool,
    /// Tokens that storage is made for at once.
    reserved: Option<i64>,
    /// How many tokens back a token sees, itself included.
    window: Option<i64>,
}

impl KeyValues {
    /// Makes storage, when it is made, for `tokens` tokens at once; for what is needed where `None`.
    pub(super) fn reserve(&mut self, tokens: Option<i64>) {
        self.reserved = tokens;
    }

    /// Keeps what a `window` of tokens sees, from the next tokens on.
    pub(super) fn slide(&mut self, window: i64) {
        self.window = Some(window);
    }

    /// Number of tokens whose keys and values are here.
    pub fn len(&self) -> i64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends keys and values of shape `[batch, heads, new, head_dim]` and returns all that they see.
    pub fn append(&mut self, keys: &Tensor, values: &Tensor) -> (Tensor, Tensor) {
        let new = keys.size()[2];
        let total = self.len + new;
        if self.start + total > self.writable() {
            let most = most_tokens(self.reserved, self.window);
            match most {
                // What does not fit is seen once and then forgotten.
                Some(most) if self.window.is_some() && most < total.max(self.writable() + 1) => {
                    return self.turn_over(keys, values, most);
                }
                _ => self.move_to(self.capacity_for(total, most), keys, values),
            }
        }
        let Some((all_keys, all_values)) = &self.storage else { return (keys.shallow_clone(), values.shallow_clone()) };
        let end = self.start + self.len;
        all_keys.narrow(2, end, new).copy_(keys);
        all_values.narrow(2, end, new).copy_(values);
        let seen = (all_keys.narrow(2, self.start, total), all_values.narrow(2, self.start, total));
        self.len = self.kept(total);
        self.start += total - self.len;
        seen
    }

    /// What there is and then `keys` and `values`; the last of them are kept, at the beginning of the storage.
    fn turn_over(&mut self, keys: &Tensor, values: &Tensor, most: i64) -> (Tensor, Tensor) {
        let seen = match self.held() {
            Some((old_keys, old_values)) if self.len > 0 => {
                (Tensor::cat(&[&old_keys, keys], 2), Tensor::cat(&[&old_values, values], 2))
            }
            _ => (keys.shallow_clone(), values.shallow_clone()),
        };
        self.len = 0;
        if self.writable() < most {
            self.move_to(most, keys, values);
        }
        let total = seen.0.size()[2];
        let kept = self.kept(total);
        if let Some((all_keys, all_values)) = &self.storage {
            all_keys.narrow(2, 0, kept).copy_(&seen.0.narrow(2, total - kept, kept));
            all_values.narrow(2, 0, kept).copy_(&seen.1.narrow(2, total - kept, kept));
        }
        (self.start, self.len) = (0, kept);
        seen
    }

    /// Makes storage of `capacity` tokens like `keys` and `values`, and moves what there is to its beginning.
    fn move_to(&mut self, capacity: i64, keys: &Tensor, values: &Tensor) {
        let held = self.held();
        let allocate = |like: &Tensor, old: Option<&Tensor>| {
            let mut shape = like.size();
            shape[2] = capacity;
            let storage = Tensor::empty(&shape[..], (like.kind(), like.device()));
            if let Some(old) = old {
                storage.narrow(2, 0, self.len).copy_(old);
            }
            storage
        };
        let old = held.as_ref();
        let moved = (allocate(keys, old.map(|(keys, _)| keys)), allocate(values, old.map(|(_, values)| values)));
        self.storage = Some(moved);
        (self.start, self.shared) = (0, false);
    }

    /// Keys and values that are here, `[batch, heads, tokens, head_dim]` each.
    fn held(&self) -> Option<(Tensor, Tensor)> {
        let part = |x: &Tensor| x.narrow(2, self.start, self.len);
        self.storage.as_ref().map(|(keys, values)| (part(keys), part(values)))
    }

    fn capacity(&self) -> i64 {
        self.storage.as_ref().map_or(0, |(keys, _)| keys.size()[2])
    }

    /// Tokens that the storage takes.
    fn writable(&self) -> i64 {
        if self.shared { 0 } else { self.capacity() }
    }

    /// Tokens that storage for `total` is made for, where `most` are kept at all.
    fn capacity_for(&self, total: i64, most: Option<i64>) -> i64 {
        match (self.reserved, most) {
            (Some(_), Some(most)) => most.max(total),
            (_, most) => grown(total, self.capacity(), most),
        }
    }

    /// The same keys and values in storage that both have, with every row `times` times; who appends moves away.
    pub(super) fn fork(&mut self, times: i64) -> Self {
        self.shared = true;
        Self {
            storage: self.storage.as_ref().map(|(keys, values)| (rows(keys, times), rows(values, times))),
            shared: true,
            ..*self
        }
    }

    /// Puts row `rows[i]` in the place of row `i`.
    pub(super) fn reorder(&mut self, rows: &Tensor) {
        if let Some((keys, values)) = &mut self.storage {
            (*keys, *values) = (keys.index_select(0, rows), values.index_select(0, rows));
            self.shared = false;
        }
    }

    /// Whether what the tokens before the last `count` of `seen` leave to be seen is here.
    pub(super) fn reaches_back(&self, count: i64, seen: i64) -> bool {
        self.storage.is_none() || self.start + self.len - count >= self.kept(seen - count)
    }

    /// Forgets the last `count` of `seen` tokens, which it [can](KeyValues::reaches_back).
    pub(super) fn drop_last(&mut self, count: i64, seen: i64) {
        if self.storage.is_some() {
            let (end, kept) = (self.start + self.len - count, self.kept(seen - count));
            (self.start, self.len) = (end - kept, kept);
        }
    }

    /// How many of `seen` tokens the next one sees.
    fn kept(&self, seen: i64) -> i64 {
        self.window.map_or(seen, |window| seen.min(window - 1))
    }

    /// Bytes of the storage.
    pub(super) fn bytes(&self) -> usize {
        self.storage.as_ref().map_or(0, |(keys, values)| bytes(keys) + bytes(values))
    }
}

/// Bytes of the elements of `x`.
pub(super) fn bytes(x: &Tensor) -> usize {
    x.numel() * x.kind().elt_size_in_bytes()
}

/// `x` with every row `times` times, one copy after another; where there is one row, in the storage of `x`.
pub(super) fn rows(x: &Tensor, times: i64) -> Tensor {
    if times == 1 {
        return x.shallow_clone();
    }
    let mut shape = x.size();
    shape.insert(1, times);
    x.unsqueeze(1).expand(shape, false).flatten(0, 1)
}

const MIN_CAPACITY: i64 = 32;

/// The capacity to which storage of `capacity` tokens grows for `total`, `most` at most.
pub(super) fn grown(total: i64, capacity: i64, most: Option<i64>) -> i64 {
    let wanted = total.max(2 * capacity).max(MIN_CAPACITY);
    most.map_or(wanted, |most| wanted.min(most.max(total)))
}

/// Tokens that storage has room for at most: those `reserved`, and of a window what its next token sees and as many
/// more as make moving them to the front rare.
pub(super) fn most_tokens(reserved: Option<i64>, window: Option<i64>) -> Option<i64> {
    let sliding = window.map(|window| window - 1 + (window / 8).max(16));
    match (reserved, sliding) {
        (Some(reserved), Some(sliding)) => Some(reserved.min(sliding)),
        (reserved, sliding) => reserved.or(sliding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    /// Keys of tokens `from..to`, each of which is its number, and values, which are its negative.
    fn tokens(from: i64, to: i64) -> (Tensor, Tensor) {
        let keys =
            Tensor::arange_start(from, to, (Kind::Float, Device::Cpu)).view([1, 1, -1, 1]).expand([2, 3, -1, 4], false);
        let values = keys.neg();
        (keys, values)
    }

    #[test]
    fn what_is_seen_is_the_storage_itself() {
        for window in [None, Some(40)] {
            let mut past = KeyValues::default();
            window.into_iter().for_each(|window| past.slide(window));
            append(&mut past, 0, 50);
            let (keys, values) = tokens(50, 51);
            let seen = past.append(&keys, &values);
            let (all_keys, all_values) = past.storage.as_ref().unwrap();
            let first = past.start + past.len() - seen.0.size()[2];
            assert_eq!(seen.0.data_ptr(), all_keys.narrow(2, first, 1).data_ptr(), "{window:?}");
            assert_eq!(seen.1.data_ptr(), all_values.narrow(2, first, 1).data_ptr(), "{window:?}");
        }
    }

    fn append(past: &mut KeyValues, from: i64, to: i64) -> Vec<f64> {
        let (keys, values) = tokens(from, to);
        let (keys, values) = past.append(&keys, &values);
        assert!(values.equal(&keys.neg()));
        Vec::try_from(keys.select(0, 1).select(0, 2).select(1, 3).to_kind(Kind::Double)).unwrap()
    }

    fn range(from: i64, to: i64) -> Vec<f64> {
        (from..to).map(|token| token as f64).collect()
    }

    #[test]
    fn a_window_sees_its_tokens_and_keeps_no_others() {
        for (window, steps) in [(1, 1), (5, 1), (5, 3), (5, 9), (5, 40), (200, 7), (200, 90)] {
            for reserved in [None, Some(300)] {
                let mut past = KeyValues::default();
                past.slide(window);
                past.reserve(reserved);
                let most = most_tokens(reserved, Some(window)).unwrap();
                let mut seen = 0;
                while seen + steps <= 300 {
                    let first = (seen - (window - 1)).max(0);
                    assert_eq!(append(&mut past, seen, seen + steps), range(first, seen + steps), "{window}, {steps}");
                    seen += steps;
                    assert_eq!(past.len(), seen.min(window - 1));
                    assert!(past.capacity() <= most && (reserved.is_none() || past.capacity() == most));
                }
            }
        }
    }

    #[test]
    fn storage_of_a_static_cache_is_made_once() {
        for window in [None, Some(5)] {
            let mut past = KeyValues::default();
            past.reserve(Some(70));
            window.into_iter().for_each(|window| past.slide(window));
            append(&mut past, 0, 3);
            let place = past.storage.as_ref().unwrap().0.data_ptr();
            for token in 3..70 {
                append(&mut past, token, token + 1);
            }
            assert_eq!(past.storage.as_ref().unwrap().0.data_ptr(), place, "{window:?}");
        }
    }

    #[test]
    fn forks_do_not_write_into_each_other() {
        let mut past = KeyValues::default();
        append(&mut past, 0, 4);
        let (mut one, mut other) = (past.fork(1), past.fork(1));
        assert_eq!(append(&mut one, 10, 12), [0.0, 1.0, 2.0, 3.0, 10.0, 11.0]);
        assert_eq!(append(&mut other, 20, 21), [0.0, 1.0, 2.0, 3.0, 20.0]);
        assert_eq!(append(&mut one, 12, 13), [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0]);
        assert_eq!(append(&mut past, 4, 5), [0.0, 1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn rows_change_places_in_storage_of_their_own() {
        let rows = Tensor::from_slice(&[1.0f32, 2.0, 3.0]).view([3, 1, 1, 1]);
        let mut past = KeyValues::default();
        let _ = past.append(&rows, &rows);
        let mut other = past.fork(1);
        other.reorder(&Tensor::from_slice(&[2i64, 0, 0]));
        let (keys, values) = other.append(&rows.zeros_like(), &rows.zeros_like());
        assert!(keys.equal(&values));
        assert_eq!(Vec::<f32>::try_from(keys.flatten(0, -1)).unwrap(), [3.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        let (keys, _) = past.append(&rows, &rows);
        assert_eq!(Vec::<f32>::try_from(keys.flatten(0, -1)).unwrap(), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
    }

    #[test]
    fn rows_stand_side_by_side() {
        let x = Tensor::from_slice(&[1i64, 2]).view([2, 1]);
        assert!(rows(&x, 2).equal(&Tensor::from_slice(&[1i64, 1, 2, 2]).view([4, 1])));
        let one = Tensor::zeros([1, 3, 2], (Kind::Float, Device::Cpu));
        assert_eq!(rows(&one, 5).data_ptr(), one.data_ptr());
        assert_eq!(rows(&one, 5).size(), [5, 3, 2]);
    }

    #[test]
    fn what_was_dropped_is_as_if_it_had_never_been() {
        let mut past = KeyValues::default();
        append(&mut past, 0, 9);
        assert!(past.reaches_back(4, 9));
        past.drop_last(4, 9);
        assert_eq!(append(&mut past, 30, 32), [0.0, 1.0, 2.0, 3.0, 4.0, 30.0, 31.0]);
        let mut sliding = KeyValues::default();
        sliding.slide(3);
        append(&mut sliding, 0, 40);
        assert!(!sliding.reaches_back(1, 40) && sliding.reaches_back(0, 40));
    }
}
