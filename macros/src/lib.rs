//! `#[hf_model(…)]`: the proofs and the suite of one architecture.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

use proc_macro::TokenStream;

/// Turns the declaration of an architecture into compile-time proofs and its suite.
///
/// The declarations are written by the build, from the entries of the registry:
///
/// ```text
/// #[hf_model(
///     model_type = "bert",
///     category = "encoder-only",
///     model = tch_transformers::models::bert::Bert,
///     tasks(
///         fill_mask = "BertForMaskedLM",
///     ),
///     tiny {
///         hidden_size: 20,
///     },
///     cases(
///         "cross-attention" = "BertLMHeadModel" { is_decoder: true },
///     ),
///     checks(config, weights, forward),
///     skip(
///         trace = "why it does not apply",
///     ),
/// )]
/// mod bert {}
/// ```
///
/// The module then proves that the Rust type exists and is that architecture, that it has a head for each task, and that
/// every key of `tiny` is a field of its config that takes the value; and it has one test for each check, each a call of
/// `tch_transformers::verify::assert_check`.
#[proc_macro_attribute]
pub fn hf_model(arguments: TokenStream, item: TokenStream) -> TokenStream {
    tch_transformers_expand::hf_model(arguments.into(), item.into())
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}
