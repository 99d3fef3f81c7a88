//! What a file is, before the compiler sees it.

use wasmtime::{Engine, Precompiled};

use super::error::Fault;

/// The largest component, in bytes.
pub(super) const COMPONENT_BYTES_MAX: u64 = 64 << 20;

/// Tells files that are no component apart before the compiler sees them.
pub(super) fn check_shape(bytes: &[u8]) -> Result<(), Fault> {
    let size = bytes.len() as u64;
    if size > COMPONENT_BYTES_MAX {
        return Err(Fault::TooLarge { bytes: size, max: COMPONENT_BYTES_MAX });
    }
    if let Some(Precompiled::Component | Precompiled::Module) = Engine::detect_precompiled(bytes) {
        return Err(Fault::Precompiled);
    }
    match bytes {
        [b'\0', b'a', b's', b'm', version, _, layer, _, sections @ ..] => match (version, layer) {
            (1, 0) => Err(Fault::CoreModule),
            _ if ends_at_a_section(sections) => Ok(()),
            _ => Err(Fault::Truncated),
        },
        _ if !bytes.is_empty() && b"\0asm".starts_with(&bytes[..bytes.len().min(4)]) => Err(Fault::Truncated),
        _ => Err(Fault::NotWasm),
    }
}

/// Walks the outermost sections: an id, a size in LEB128, and so many bytes.
fn ends_at_a_section(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let mut size = 0u64;
        let mut at = 1;
        loop {
            let Some(&byte) = rest.get(at) else { return false };
            size |= u64::from(byte & 0x7f) << (7 * (at - 1));
            at += 1;
            if byte & 0x80 == 0 || at > 5 {
                break;
            }
        }
        let Some(next) = usize::try_from(size).ok().and_then(|size| rest.get(at..)?.get(size..)) else {
            return false;
        };
        rest = next;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_told_apart() {
        let empty = b"\0asm\x0d\0\x01\0";
        assert!(check_shape(empty).is_ok());
        assert!(matches!(check_shape(b"hello, world"), Err(Fault::NotWasm)));
        assert!(matches!(check_shape(b""), Err(Fault::NotWasm)));
        assert!(matches!(check_shape(b"\0as"), Err(Fault::Truncated)));
        assert!(matches!(check_shape(b"\0asm\x01\0\0\0"), Err(Fault::CoreModule)));
        let with_section = [&empty[..], b"\0\x05\x04name"].concat();
        assert!(check_shape(&with_section).is_ok());
        for cut in 9..with_section.len() {
            assert!(matches!(check_shape(&with_section[..cut]), Err(Fault::Truncated)), "{cut}");
        }
    }
}
