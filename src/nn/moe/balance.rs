use tch::{Kind, Tensor};

/// How unevenly a model's routers use their experts (Fedus et al., 2021, equations 4 to 6): the experts times the sum over
/// them of the part of the tokens they get and their mean probability, a number of no dimension.
///
/// `logits` are what the router of each layer said, `[tokens, experts]`; `chosen` is how many experts a token has.
/// Tokens where `mask` (`[batch, tokens]`) is 0 do not count.
pub fn load_balance(logits: &[&Tensor], chosen: i64, mask: Option<&Tensor>) -> Option<Tensor> {
    let first = logits.first()?;
    let experts = first.size()[1];
    let real = match mask {
        Some(mask) => mask.flatten(0, -1).to_kind(Kind::Float),
        None => Tensor::ones([first.size()[0]], (Kind::Float, first.device())),
    };
    let sent = Tensor::zeros([experts], (Kind::Float, first.device()));
    let (mut sent, mut probability) = (sent.shallow_clone(), sent);
    for logits in logits {
        let probabilities = logits.softmax(-1, None);
        let (_, best) = probabilities.topk(chosen, -1, true, true);
        sent = sent.scatter_add(0, &best.flatten(0, 1), &real.repeat_interleave_self_int(chosen, 0, None));
        let probabilities = probabilities.to_kind(Kind::Float) * real.unsqueeze(-1);
        probability += probabilities.sum_dim_intlist(0, false, None);
    }
    let rows = real.sum(Kind::Float) * logits.len() as f64;
    Some((sent / &rows * (probability / &rows)).sum(Kind::Float) * experts as f64)
}
