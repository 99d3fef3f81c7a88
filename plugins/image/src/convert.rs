//! From file to file: the only module that knows the codec.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use codec::codecs::jpeg::JpegEncoder;
use codec::codecs::png::PngEncoder;
use codec::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader};
use hostler_guest::prelude::*;

use crate::{Format, PIXELS_MAX, Shrunk, unreadable};

const JPEG_QUALITY: u8 = 85;

/// Decodes, shrinks and encodes.
pub(crate) fn shrink(file: &[u8], max_side: u32) -> Result<Shrunk, Failure> {
    let format = format(file)?;
    let image = decode(file, format)?;
    let (original_width, original_height) = (image.width(), image.height());
    let small = if original_width.max(original_height) > max_side {
        image.thumbnail(max_side, max_side)
    } else {
        image
    };
    let (width, height) = (small.width(), small.height());
    let image_base64 = STANDARD.encode(encode(small, format)?);
    Ok(Shrunk { image_base64, format, width, height, original_width, original_height })
}

/// By the first bytes: a name could lie.
fn format(file: &[u8]) -> Result<Format, Failure> {
    match codec::guess_format(file) {
        Ok(ImageFormat::Png) => Ok(Format::Png),
        Ok(ImageFormat::Jpeg) => Ok(Format::Jpeg),
        Ok(other) => {
            let message = format!("PNG and JPEG are understood, {} is not", other.extensions_str()[0]);
            Err(Failure::new("IMAGE_FORMAT_UNSUPPORTED", message).never())
        }
        Err(error) => Err(unreadable(error.to_string())),
    }
}

fn decode(file: &[u8], format: Format) -> Result<DynamicImage, Failure> {
    let format = match format {
        Format::Png => ImageFormat::Png,
        Format::Jpeg => ImageFormat::Jpeg,
    };
    let decoder = ImageReader::with_format(Cursor::new(file), format)
        .into_decoder()
        .map_err(|error| unreadable(error.to_string()))?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > PIXELS_MAX {
        let message = format!("{width} x {height} are {pixels} pixels, and {PIXELS_MAX} are allowed");
        let data = json!({ "width": width, "height": height, "pixels_max": PIXELS_MAX });
        return Err(Failure::new("IMAGE_TOO_LARGE", message).never().with_data(data));
    }
    DynamicImage::from_decoder(decoder).map_err(|error| unreadable(error.to_string()))
}

fn encode(image: DynamicImage, format: Format) -> Result<Vec<u8>, Failure> {
    let mut file = Vec::new();
    match format {
        Format::Png => image.write_with_encoder(PngEncoder::new(&mut file))?,
        Format::Jpeg => image.write_with_encoder(JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY))?,
    }
    Ok(file)
}
