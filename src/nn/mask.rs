use tch::{Kind, Tensor};

/// Which keys each query may attend to.
#[derive(Debug)]
pub enum Mask {
    /// All of them.
    None,
    /// Those up to its own position; queries and keys are the same tokens.
    Causal,
    /// Where this is true; broadcasts to `[batch, heads, queries, keys]`.
    Allowed(Tensor),
}

impl Mask {
    /// Every token may attend to the real tokens of `attention_mask` (`[batch, keys]`, 0 = padding).
    pub fn padding(attention_mask: Option<&Tensor>) -> Self {
        match real_tokens(attention_mask) {
            Some(real) => Self::Allowed(real),
            None => Self::None,
        }
    }

    /// As [`Mask::padding`], and padding attends to nothing.
    pub fn pairs(attention_mask: Option<&Tensor>) -> Self {
        match real_tokens(attention_mask) {
            Some(real) => Self::Allowed(real.logical_and(&real.transpose(2, 3))),
            None => Self::None,
        }
    }

    /// Each of `queries` tokens after `past` earlier ones may attend to itself and to what came before it,
    /// to padding never. `window` limits how far back, itself included.
    ///
    /// `attention_mask` is `[batch, past + queries]`.
    pub fn causal(
        attention_mask: Option<&Tensor>,
        queries: i64,
        past: i64,
        window: Option<i64>,
        like: &Tensor,
    ) -> Self {
        let keys = past + queries;
        let real = real_tokens(attention_mask);
        let window = window.filter(|window| *window < keys);
        if window.is_none() && real.is_none() {
            if queries == 1 {
                return Self::None;
            }
            if past == 0 {
                return Self::Causal;
            }
        }
        let real = match real {
            Some(real) if window.is_none() && queries == 1 => return Self::Allowed(real),
            real => real,
        };
        let options = (Kind::Int64, like.device());
        let query = Tensor::arange_start(past, keys, options).unsqueeze(1);
        let key = Tensor::arange(keys, options).unsqueeze(0);
        let distance = query - key;
        let mut allowed = distance.ge(0);
        if let Some(window) = window {
            allowed = allowed.logical_and(&distance.lt(window));
        }
        let allowed = allowed.unsqueeze(0).unsqueeze(0);
        Self::Allowed(match real {
            Some(real) => allowed.logical_and(&real),
            None => allowed,
        })
    }

    /// Each of `queries` tokens after `past` earlier ones may attend to real ones on both sides, fewer than `window`
    /// places away where there is a window.
    ///
    /// `attention_mask` is `[batch, past + queries]`.
    pub fn near(attention_mask: Option<&Tensor>, queries: i64, past: i64, window: Option<i64>, like: &Tensor) -> Self {
        let keys = past + queries;
        let Some(window) = window.filter(|window| *window < keys) else { return Self::padding(attention_mask) };
        let positions = Tensor::arange(keys, (Kind::Int64, like.device()));
        let query = positions.narrow(0, past, queries).unsqueeze(1);
        let allowed = (query - positions).abs().lt(window).unsqueeze(0).unsqueeze(0);
        Self::Allowed(match real_tokens(attention_mask) {
            Some(real) => allowed.logical_and(&real),
            None => allowed,
        })
    }

    /// The same, and tokens of one block see each other both ways: `blocks` (`[batch, queries]`) numbers those of the new
    /// tokens, -1 where a token is in none. Padding of `attention_mask` (`[batch, past + queries]`) stays unseen.
    pub fn with_blocks(self, blocks: &Tensor, attention_mask: Option<&Tensor>, past: i64) -> Self {
        let queries = blocks.size()[1];
        let Some(allowed) = self.allowed(queries, past + queries, blocks) else { return self };
        let earlier = Tensor::full([blocks.size()[0], past], -1, (blocks.kind(), blocks.device()));
        let keys = Tensor::cat(&[&earlier, blocks], 1).unsqueeze(1);
        let block = blocks.unsqueeze(-1);
        let together = block.eq_tensor(&keys).logical_and(&block.ge(0)).unsqueeze(1);
        let allowed = allowed.logical_or(&together);
        Self::Allowed(match real_tokens(attention_mask) {
            Some(real) => allowed.logical_and(&real),
            None => allowed,
        })
    }

    /// The mask as a boolean tensor, or `None` where everything is allowed.
    pub fn allowed(&self, queries: i64, keys: i64, like: &Tensor) -> Option<Tensor> {
        match self {
            Self::None => None,
            Self::Causal => Some(Tensor::ones([queries, keys], (Kind::Bool, like.device())).tril(keys - queries)),
            Self::Allowed(allowed) => Some(allowed.shallow_clone()),
        }
    }
}

/// Which of the last `tokens` tokens of `attention_mask` (`[batch, all tokens]`, 0 = padding) are real,
/// `[batch, tokens, 1]`; `None` where all are.
pub fn real_among(attention_mask: Option<&Tensor>, tokens: i64) -> Option<Tensor> {
    let mask = attention_mask?;
    let real = real_tokens(Some(&mask.narrow(1, mask.size()[1] - tokens, tokens)))?;
    Some(real.reshape([-1, tokens, 1]))
}

/// `x` (`[batch, tokens, …]`) with zeros in place of the tokens that are not `real` (`[batch, tokens, 1]`).
///
/// What mixes tokens without attention sees padding this way: there is no score that could leave it out.
pub fn without_padding(x: &Tensor, real: Option<&Tensor>) -> Tensor {
    real.map_or_else(|| x.shallow_clone(), |real| x * real)
}

/// `attention_mask` as booleans `[batch, 1, 1, keys]`, or `None` where nothing is masked.
fn real_tokens(attention_mask: Option<&Tensor>) -> Option<Tensor> {
    let real = attention_mask?.to_kind(Kind::Bool);
    let all = real.all().int64_value(&[]) != 0;
    (!all).then(|| real.unsqueeze(1).unsqueeze(1))
}
