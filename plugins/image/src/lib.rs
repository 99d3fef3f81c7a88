//! The plugin `image`: decodes strangers' pictures, which is what a sandbox is for.
//!
//! Limits: 8 MiB of encoded image, 40 million pixels, sides of 1 to 2048 pixels in the thumbnail; the whole attempt has
//! 512 MiB of memory. The size in the image's header is checked before a pixel is decoded.

mod convert;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hostler_guest::prelude::*;

/// The largest image accepted, encoded but without base64.
pub const IMAGE_BYTES_MAX: usize = 8 << 20;
/// The most pixels an image may have.
pub const PIXELS_MAX: u64 = 40_000_000;
/// The longest side of a thumbnail.
pub const SIDE_MAX: u32 = 2048;

/// The image and the size wanted.
#[data]
#[derive(Debug)]
pub struct ThumbnailArgs {
    /// A PNG or JPEG file in base64, 8 MiB at most before base64.
    pub image_base64: String,
    /// The longest side of the thumbnail in pixels, 1 to 2048. An image that is smaller keeps its size.
    #[schemars(range(min = 1, max = 2048))]
    pub max_side: u32,
}

/// The thumbnail.
#[data]
#[derive(Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The file in base64, in the format it came in.
    pub image_base64: String,
    /// That format.
    pub format: Format,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Pixels, before.
    pub original_width: u32,
    /// Pixels, before.
    pub original_height: u32,
}

/// The file formats understood.
#[data]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Lossless, with transparency.
    Png,
    /// For photographs.
    Jpeg,
}

/// Shrinks a PNG or JPEG so that its longest side fits, in the same format.
///
/// Fails with `IMAGE_TOO_LARGE`, `IMAGE_UNREADABLE`, `IMAGE_FORMAT_UNSUPPORTED` or `MAX_SIDE_OUT_OF_RANGE`, all of them
/// for good.
#[task(retries = 1, backoff = fixed("1s"), timeout = "30s", memory = "512 MiB")]
pub fn thumbnail(args: ThumbnailArgs) -> Result<Shrunk, Failure> {
    if !(1..=SIDE_MAX).contains(&args.max_side) {
        let message = format!("`max_side` is 1 to {SIDE_MAX}, not {}", args.max_side);
        return Err(Failure::new("MAX_SIDE_OUT_OF_RANGE", message).never());
    }
    // Base64 is checked by its length first: 4 characters hold 3 bytes.
    if args.image_base64.len() / 4 > IMAGE_BYTES_MAX.div_ceil(3) {
        return Err(too_large(args.image_base64.len() / 4 * 3));
    }
    let file =
        STANDARD.decode(&args.image_base64).map_err(|error| unreadable(format!("no base64: {error}")))?;
    drop(args.image_base64);
    if file.len() > IMAGE_BYTES_MAX {
        return Err(too_large(file.len()));
    }
    convert::shrink(&file, args.max_side)
}

fn too_large(bytes: usize) -> Failure {
    let message = format!("{bytes} bytes of image, and {IMAGE_BYTES_MAX} are allowed");
    Failure::new("IMAGE_TOO_LARGE", message)
        .never()
        .with_data(json!({ "bytes": bytes, "bytes_max": IMAGE_BYTES_MAX }))
}

fn unreadable(reason: String) -> Failure {
    Failure::new("IMAGE_UNREADABLE", reason).never()
}

hostler_guest::plugin!("image", [thumbnail]);

#[cfg(test)]
mod tests;
