//! What `#[hf_model(…)]` expands to, as a plain library: the macro compiles it, and the command prints it.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod declaration;
mod suite;

use proc_macro2::TokenStream;
use syn::{Item, Meta};

pub use declaration::{Case, Declaration, Field, Literal, Part, Skip, TaskClass};

/// Expands `#[hf_model(arguments)] item`.
///
/// # Errors
///
/// Every mistake of the declaration, each at its place.
pub fn hf_model(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    Declaration::parse(arguments, item).map(|declaration| suite::expand(&declaration))
}

/// What the declaration of `model_type` among `declarations` (Rust source) expands to, formatted; none if it is not
/// among them.
///
/// # Errors
///
/// When the source is no Rust, or the declaration has mistakes.
pub fn show(declarations: &str, model_type: &str) -> syn::Result<Option<String>> {
    for item in syn::parse_file(declarations)?.items {
        let Item::Mod(mut module) = item else { continue };
        let Some(at) = module.attrs.iter().position(|attribute| is_hf_model(attribute.path())) else {
            continue;
        };
        let Meta::List(list) = module.attrs.remove(at).meta else { continue };
        let declaration = Declaration::parse(list.tokens, quote::quote!(#module))?;
        if declaration.model_type.value() == model_type {
            return Ok(Some(prettyplease::unparse(&syn::parse2(suite::expand(&declaration))?)));
        }
    }
    Ok(None)
}

fn is_hf_model(path: &syn::Path) -> bool {
    path.segments.last().is_some_and(|segment| segment.ident == "hf_model")
}
