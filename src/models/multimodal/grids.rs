use tch::{Device, Kind, Tensor};

use crate::inputs::covers;
use crate::{Cache, Error, Inputs, Result};

/// Frames, rows and columns of each image or video in `grid` (`[images, 3]`), given as `name`; rows and columns must be
/// multiples of `merge`.
///
/// # Errors
/// [`Error::Input`] that says which image has no such grid.
pub fn grids(name: &str, grid: &Tensor, merge: i64) -> Result<Vec<[i64; 3]>> {
    let all = integers(grid)?;
    let grids: Vec<[i64; 3]> = all.as_chunks().0.to_vec();
    match grids.iter().find(|[t, h, w]| *t < 1 || *h < 1 || *w < 1 || h % merge != 0 || w % merge != 0) {
        Some(wrong) => {
            let message = format!("{wrong:?}: needs a frame at least, and multiples of {merge} as rows and columns");
            Err(Error::input(name, message))
        }
        None => Ok(grids),
    }
}

/// The elements of `tensor`.
fn integers(tensor: &Tensor) -> Result<Vec<i64>> {
    let flat = tensor.to_device(Device::Cpu).to_kind(Kind::Int64).flatten(0, -1);
    Vec::try_from(flat).map_err(|error: tch::TchError| Error::Libtorch(error.to_string()))
}

/// Positions in time, height and width of tokens between which images and videos stand (M-RoPE; Wang et al., 2024): text
/// counts in all three alike; the tokens of a grid count frames, rows and columns from where the text before it ended,
/// and the text after it begins beyond the longer side of the grid.
#[derive(Debug, Clone, Copy)]
pub struct GridPositions {
    /// Rows and columns of patches that become one token.
    pub merge: i64,
    /// The token that image features take the place of.
    pub image: i64,
    /// The token that video features take the place of.
    pub video: i64,
}

impl GridPositions {
    /// The argument that says what each token is: 0 text, 1 image, 2 video.
    pub const TYPES: &'static str = "mm_token_type_ids";

    /// The positions of `size` (rows, tokens) tokens, `[3, batch, tokens]`: from the grids in `inputs`, or continued from
    /// those that `cache` has seen. `None` where they simply count.
    ///
    /// # Errors
    /// [`Error::Input`] when the tokens and the grids do not fit each other.
    pub fn of(&self, inputs: &Inputs, size: (i64, i64), cache: Option<&mut Cache>) -> Result<Option<Tensor>> {
        let past = cache.as_ref().map_or(0, |cache| cache.len());
        covers("attention_mask", inputs.get("attention_mask"), past, size.1)?;
        let given = ["image_grid_thw", "video_grid_thw"].into_iter().find(|name| inputs.get(name).is_some());
        let Some((name, ids)) = given.zip(inputs.get("input_ids")) else {
            let offset = cache.and_then(|cache| cache.position_offset.as_ref().map(Tensor::shallow_clone));
            return Ok(offset.map(|offset| self.after(inputs, size, past, &offset)));
        };
        if past > 0 {
            let message = format!("images belong to the first tokens; there are {past} in the cache already");
            return Err(Error::input(name, message));
        }
        let (positions, offset) = self.first(inputs, ids, size)?;
        if let Some(cache) = cache {
            cache.position_offset = Some(offset);
        }
        Ok(Some(positions))
    }

    /// The positions of tokens that follow `past` others.
    fn after(&self, inputs: &Inputs, (batch, tokens): (i64, i64), past: i64, offset: &Tensor) -> Tensor {
        let counted = match inputs.get("attention_mask").map(|mask| mask.to_kind(Kind::Int64)) {
            Some(mask) => {
                let counted = (mask.cumsum(-1, Kind::Int64) - 1).masked_fill(&mask.eq(0), 0);
                counted.narrow(1, past, tokens)
            }
            None => Tensor::arange_start(past, past + tokens, (Kind::Int64, offset.device())).unsqueeze(0),
        };
        (counted + offset).expand([3, batch, tokens], false)
    }

    /// The positions of the first tokens, and how much further they go than their number, `[batch, 1]`.
    fn first(&self, inputs: &Inputs, ids: &Tensor, (batch, tokens): (i64, i64)) -> Result<(Tensor, Tensor)> {
        let types = match inputs.get(Self::TYPES) {
            Some(types) => integers(types)?,
            None => integers(&(ids.eq(self.image).to_kind(Kind::Int64) + ids.eq(self.video).to_kind(Kind::Int64) * 2))?,
        };
        let real = match inputs.get("attention_mask") {
            Some(mask) => integers(&mask.ne(0))?,
            None => vec![1; types.len()],
        };
        let list = |name: &str| inputs.get(name).map_or(Ok(Vec::new()), |grid| grids(name, grid, self.merge));
        let (images, videos) = (list("image_grid_thw")?, list("video_grid_thw")?);
        let (mut images, mut videos) = (images.into_iter(), videos.into_iter());
        let mut next = |kind| match kind {
            1 => images.next().ok_or("image_grid_thw"),
            _ => videos.next().ok_or("video_grid_thw"),
        };
        let mut positions = vec![0; 3 * types.len()];
        let mut offsets = Vec::new();
        for row in 0..batch {
            let places: Vec<usize> =
                (row * tokens..(row + 1) * tokens).map(|at| at as usize).filter(|at| real[*at] != 0).collect();
            let (mut at, mut position, mut furthest) = (0, 0, -1);
            while let Some(place) = places.get(at) {
                let kind = types[*place];
                let [t, h, w] = match kind {
                    0 => [1, 1, 1],
                    _ => {
                        let [t, h, w] = next(kind).map_err(|name| {
                            Error::input(name, "has no grid for some of the tokens that stand for features")
                        })?;
                        [t, h / self.merge, w / self.merge]
                    }
                };
                let count = (t * h * w) as usize;
                let own = places[at..].iter().take_while(|place| types[**place] == kind).take(count);
                if own.clone().count() < count {
                    let message = format!("row {row} has fewer tokens than the {count} of a grid in one place");
                    return Err(Error::input(Self::TYPES, message));
                }
                for (index, place) in (0..).zip(own) {
                    let on_grid = [index / (h * w), index / w % h, index % w];
                    for (axis, step) in on_grid.into_iter().enumerate() {
                        positions[axis * types.len() + place] = position + step;
                        furthest = furthest.max(position + step);
                    }
                }
                at += count;
                position += h.max(w);
            }
            offsets.push(furthest + 1 - places.len() as i64);
        }
        let made = |values: &[i64], shape: &[i64]| Tensor::from_slice(values).view(shape).to_device(ids.device());
        Ok((made(&positions, &[3, batch, tokens]), made(&offsets, &[batch, 1])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: GridPositions = GridPositions { merge: 2, image: 8, video: 9 };

    fn rows(tensor: &Tensor) -> Vec<i64> {
        Vec::try_from(tensor.flatten(0, -1)).unwrap()
    }

    fn inputs(ids: &[i64], grids: &[(&str, [i64; 3])]) -> Inputs {
        let inputs = Inputs::new().with("input_ids", Tensor::from_slice(ids).unsqueeze(0));
        grids.iter().fold(inputs, |inputs, (name, grid)| inputs.with(*name, Tensor::from_slice(grid).unsqueeze(0)))
    }

    #[test]
    fn text_goes_on_beyond_the_longer_side_of_a_grid() {
        let grids = [("image_grid_thw", [1, 2, 6]), ("video_grid_thw", [2, 4, 2])];
        let inputs = inputs(&[1, 8, 8, 8, 2, 9, 9, 9, 9, 3], &grids);
        let mut cache = Cache::new();
        let positions = RULE.of(&inputs, (1, 10), Some(&mut cache)).unwrap().unwrap();
        let axis = |axis| rows(&positions.select(0, axis));
        assert_eq!(axis(0), [0, 1, 1, 1, 4, 5, 5, 6, 6, 7]);
        assert_eq!(axis(1), [0, 1, 1, 1, 4, 5, 6, 5, 6, 7]);
        assert_eq!(axis(2), [0, 1, 2, 3, 4, 5, 5, 5, 5, 7]);
        // Ten tokens, of which the last stands at 7: what follows stands two places before its number.
        assert_eq!(rows(&cache.position_offset.as_ref().unwrap().shallow_clone()), [-2]);
        cache.advance(10);
        let next = RULE.of(&Inputs::new(), (1, 1), Some(&mut cache)).unwrap().unwrap();
        assert_eq!(rows(&next), [8; 3]);
    }

    #[test]
    fn padding_takes_no_position() {
        let inputs = inputs(&[0, 0, 1, 8, 2], &[("image_grid_thw", [1, 2, 2])]);
        let inputs = inputs.with("attention_mask", Tensor::from_slice(&[0i64, 0, 1, 1, 1]).unsqueeze(0));
        let positions = RULE.of(&inputs, (1, 5), None).unwrap().unwrap();
        assert_eq!(rows(&positions.select(0, 0)), [0, 0, 0, 1, 2]);
    }

    #[test]
    fn tokens_and_grids_that_do_not_fit_are_refused() {
        for (inputs, named) in [
            (inputs(&[1, 8, 2], &[("video_grid_thw", [1, 2, 2])]), "image_grid_thw"),
            (inputs(&[1, 8, 2], &[("image_grid_thw", [1, 4, 2])]), "mm_token_type_ids"),
            (inputs(&[1, 8, 2], &[("image_grid_thw", [1, 3, 2])]), "image_grid_thw"),
        ] {
            let error = RULE.of(&inputs, (1, 3), None).unwrap_err();
            assert!(matches!(&error, Error::Input { name, .. } if name == named), "{error}");
        }
        let mut cache = Cache::new();
        cache.advance(2);
        let late = RULE.of(&inputs(&[8], &[("image_grid_thw", [1, 2, 2])]), (1, 1), Some(&mut cache));
        assert!(late.unwrap_err().to_string().contains("2 in the cache"));
    }
}
