//! LayoutLM and its heirs: encoders of documents, whose tokens have a place on a page.
//!
//! What enters the layers are the embeddings of [`bert`](super::bert), into which
//! [boxes](crate::nn::BoxEmbedding) are summed. [`LayoutBody`] puts the patches of the page's image after them, and biases
//! attention by how far tokens are from each other in the text and on the page ([`Places`]).

mod body;
mod v3;

pub use body::{LayoutBody, LayoutSpec, Places, PlacesSpec, VisualSpec};
pub use v3::{LayoutLmV3, LayoutLmV3Config};
