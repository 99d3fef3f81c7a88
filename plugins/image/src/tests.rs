//! Small images made here, and files that lie about themselves.

use codec::{DynamicImage, ImageFormat, RgbImage, RgbaImage};

use super::*;

fn file(image: impl Into<DynamicImage>, format: ImageFormat) -> String {
    let mut file = std::io::Cursor::new(Vec::new());
    image.into().write_to(&mut file, format).expect("a small image can be encoded");
    STANDARD.encode(file.into_inner())
}

fn shrink(image_base64: String, max_side: u32) -> Result<Shrunk, Failure> {
    thumbnail(ThumbnailArgs { image_base64, max_side })
}

fn refused(image_base64: String, code: &str) {
    let failure = shrink(image_base64, 10).expect_err(code);
    assert_eq!((failure.code.as_str(), failure.retry), (code, Retry::Never), "{failure}");
}

#[test]
fn the_longest_side_fits_and_the_format_stays() {
    for (image, format, expected) in [
        (file(RgbImage::new(100, 50), ImageFormat::Jpeg), ImageFormat::Jpeg, Format::Jpeg),
        (file(RgbaImage::new(100, 50), ImageFormat::Png), ImageFormat::Png, Format::Png),
    ] {
        let small = shrink(image, 20).expect("a plain image is shrunk");
        assert_eq!((small.format, small.width, small.height), (expected, 20, 10));
        assert_eq!((small.original_width, small.original_height), (100, 50));
        let file = STANDARD.decode(small.image_base64).expect("it is base64");
        let image = codec::load_from_memory_with_format(&file, format).expect("it is an image");
        assert_eq!((image.width(), image.height()), (20, 10));
    }
}

#[test]
fn a_small_image_keeps_its_size() {
    let small = shrink(file(RgbImage::new(3, 2), ImageFormat::Png), 2048).expect("a plain image is kept");
    assert_eq!((small.width, small.height), (3, 2));
}

#[test]
fn what_is_no_image_is_unreadable() {
    refused("!".to_owned(), "IMAGE_UNREADABLE");
    refused(STANDARD.encode("just text"), "IMAGE_UNREADABLE");
    refused(STANDARD.encode("GIF89a"), "IMAGE_FORMAT_UNSUPPORTED");
    let half = file(RgbImage::new(64, 64), ImageFormat::Png);
    refused(half[..half.len() / 8 * 4].to_owned(), "IMAGE_UNREADABLE");
}

#[test]
fn too_much_is_refused_before_it_is_decoded() {
    refused(STANDARD.encode(vec![0; IMAGE_BYTES_MAX + 1]), "IMAGE_TOO_LARGE");
    refused("A".repeat(20 << 20), "IMAGE_TOO_LARGE");
    // A header alone that claims 40,000 x 40,000 pixels: its checksum is right, its pixels are missing.
    refused(STANDARD.encode(png_header(40_000, 40_000)), "IMAGE_TOO_LARGE");
}

#[test]
fn a_side_of_nothing_is_refused() {
    for max_side in [0, SIDE_MAX + 1] {
        let failure = shrink(String::new(), max_side).expect_err("it is out of range");
        assert_eq!(failure.code, "MAX_SIDE_OUT_OF_RANGE");
    }
}

fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    file.extend(&header);
    file.extend(crc32(&header).to_be_bytes());
    file.extend(b"\0\0\0\x08IDAT");
    file.extend([0; 12]);
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ ((crc & 1) * 0xedb8_8320))
    })
}
