//! Listing a directory, which wasmtime-wasi does all at once and keeps in the host's memory until the guest drops it.
//!
//! So its entries are counted before, and those that an attempt holds already with them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::filesystem::WasiFilesystemView;
use wasmtime_wasi::p2::bindings::filesystem::types::{DirectoryEntryStream, ErrorCode, HostDescriptor};

use super::guest::Guest;

/// How many entries an attempt may hold at once, over all its listings: some 10 MiB of the host's memory.
const ENTRIES_MAX: usize = 65_536;

/// The listings that an attempt holds, by handle, and how many entries each has.
#[derive(Default)]
pub(super) struct Listings(HashMap<u32, usize>);

type Listed = Result<Resource<DirectoryEntryStream>, ErrorCode>;

/// Puts the counted listing in the place of the one that is linked.
pub(super) fn bound(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance("wasi:filesystem/types@0.2.12")?.func_wrap_async(
        "[method]descriptor.read-directory",
        |store, (directory,): (Resource<Descriptor>,)| {
            Box::new(async move { Ok((list(store, directory).await?,)) })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

async fn list(
    mut store: StoreContextMut<'_, Guest>,
    directory: Resource<Descriptor>,
) -> wasmtime::Result<Listed> {
    let guest = store.data_mut();
    let held = guest.entries_held();
    if let Descriptor::Dir(dir) = guest.table.get(&directory)? {
        let (dir, room) = (Arc::clone(&dir.dir), ENTRIES_MAX.saturating_sub(held));
        let counted = tokio::task::spawn_blocking(move || count(&dir, room)).await?;
        let Ok(entries) = counted else { return Ok(Err(ErrorCode::Io)) };
        if entries > room {
            return Ok(Err(ErrorCode::InsufficientMemory));
        }
        let listed = match guest.filesystem().read_directory(directory).await {
            Ok(listed) => listed,
            Err(error) => return Ok(Err(error.downcast()?)),
        };
        guest.listings.0.insert(listed.rep(), entries);
        return Ok(Ok(listed));
    }
    Ok(Err(ErrorCode::NotDirectory))
}

impl Guest {
    fn entries_held(&mut self) -> usize {
        let Self { listings, table, .. } = self;
        // A handle that is gone, or was used again for something else, holds none.
        listings.0.retain(|rep, _| table.get(&Resource::<DirectoryEntryStream>::new_borrow(*rep)).is_ok());
        listings.0.values().sum()
    }
}

/// How many entries a directory has, as far as one more than there is room for.
fn count(dir: &File, room: usize) -> std::io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/self/fd/{}", dir.as_raw_fd()))?.take(room.saturating_add(1)).count())
}
