/// The tokens with a role, as `tokenizer_config.json` or `special_tokens_map.json` names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begins a text.
    pub bos: Option<SpecialToken>,
    /// Ends a text.
    pub eos: Option<SpecialToken>,
    /// Stands for what the vocabulary does not have.
    pub unk: Option<SpecialToken>,
    /// Stands between two texts.
    pub sep: Option<SpecialToken>,
    /// Fills up short rows of a batch.
    pub pad: Option<SpecialToken>,
    /// Its vector stands for the whole text.
    pub cls: Option<SpecialToken>,
    /// To be filled by the model.
    pub mask: Option<SpecialToken>,
    /// Special tokens without one of these roles.
    pub additional: Vec<SpecialToken>,
}

/// A token with a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialToken {
    /// How it is written.
    pub content: String,
    /// Its place in the vocabulary.
    pub id: u32,
}
