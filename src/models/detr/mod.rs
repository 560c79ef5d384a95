//! DETR and its heirs: a backbone, a transformer over its last map, and learned queries that each find one object.
//!
//! `positions` says where a place of the map is, `model` has the transformer and the classes, `mask_head` the masks
//! of objects. The backbone is any of the roster.

mod mask_head;
mod model;
mod positions;

pub use model::{Detr, DetrConfig};
pub use positions::MapPositions;
