use tch::Tensor;

/// `x` (`[batch, channels, rows, columns]`) with the rows and columns of `like`, interpolated linearly in both directions.
pub fn bilinear(x: &Tensor, like: &Tensor) -> Tensor {
    let size = like.size();
    x.upsample_bilinear2d([size[2], size[3]], false, None, None)
}
