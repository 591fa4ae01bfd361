//! To an object store.

use std::fs::File;
use std::io::Read;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};

use super::ObjectTier;
use super::receive::blocking;
use crate::error::At;
use crate::tier::{TierBlob, TierResult};
use crate::{BlobReader, Error, Store};

/// What is larger goes in pieces of this size. S3 wants no smaller ones, and takes 10,000 (User Guide, *Multipart upload limits*). A piece that is not there
/// when our patience ends is given up, so larger ones would need faster lines.
const PIECE: u64 = 5 << 20;

/// So many pieces of a blob are on their way, and in memory, at a time.
const PARALLEL: usize = 2;

/// So many blobs are on their way at a time: each has its share of the line, and must move within our patience.
pub(super) const BLOBS: usize = 8;

impl ObjectTier {
    /// Sends a blob of the store. Its bytes are checked first, or as they go: what is damaged here becomes no object there.
    pub(super) async fn send(&self, store: &Store, at: &Path, blob: &TierBlob) -> TierResult<()> {
        let (blobs, digest, size) = (store.blobs().clone(), blob.digest, blob.size);
        let actual = blobs.size(&digest)?.ok_or(Error::MissingBlob(digest))?;
        if actual != size {
            return Err(Error::WrongSize { digest, expected: size, actual }.into());
        }
        // Closed by nobody.
        let _turn = self.sending.acquire().await;
        if size <= PIECE {
            let bytes = blocking(move || blobs.read(&digest)).await??;
            self.within(self.store.put(at, bytes.into())).await?;
            return Ok(());
        }
        let reader = blobs.open_blob(&digest)?;
        let mut upload = self.within(self.store.put_multipart(at)).await?;
        let sent = match self.pieces(upload.as_mut(), reader, store, blob).await {
            Ok(()) => self.within(upload.complete()).await.map(drop),
            Err(e) => Err(e),
        };
        if sent.is_err() {
            // If that fails too, the store has pieces that belong to nothing, which cost space alone.
            let _ = self.within(upload.abort()).await;
        }
        sent
    }

    async fn pieces(
        &self,
        upload: &mut dyn MultipartUpload,
        mut reader: BlobReader<File>,
        store: &Store,
        blob: &TierBlob,
    ) -> TierResult<()> {
        let mut under_way = FuturesUnordered::new();
        loop {
            let piece;
            (piece, reader) = blocking(move || {
                let mut piece = Vec::new();
                (reader.by_ref().take(PIECE).read_to_end(&mut piece).map(|_| piece), reader)
            })
            .await?;
            let piece = piece.or_else(|e| match e.downcast::<Error>() {
                Ok(damaged) => Err(damaged),
                Err(e) => Err(e).at("read", &store.blobs().path(&blob.digest)),
            })?;
            // The end is read by itself: that is where the reader says that the bytes are others.
            if piece.is_empty() {
                break;
            }
            under_way.push(upload.put_part(PutPayload::from(piece)));
            if under_way.len() == PARALLEL {
                self.within(one(&mut under_way)).await?;
            }
        }
        while !under_way.is_empty() {
            self.within(one(&mut under_way)).await?;
        }
        Ok(())
    }
}

/// Waits for one of several to end.
async fn one(under_way: &mut FuturesUnordered<object_store::UploadPart>) -> object_store::Result<()> {
    under_way.next().await.unwrap_or(Ok(()))
}
