//! Large files, in and out.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::fs::{Advice, fadvise};

use super::crowd::crowd;
use super::{Scenario, Unit, Work};
use crate::client::Client;
use crate::ground::noise;
use crate::server::Server;

const COPY: &str = "blocking copy";

pub const UPLOAD: Scenario = Scenario {
    name: "1 upload",
    about: "one large file in",
    unit: Unit::Transfer,
    reference: COPY,
    can: |routes| routes.upload.is_some(),
    warm: None,
    run: |server, ground| upload(server, 1, ground.large),
};

pub const UPLOADS: Scenario = Scenario {
    name: "8 uploads",
    about: "eight files in at once",
    unit: Unit::Transfer,
    reference: COPY,
    can: |routes| routes.upload.is_some(),
    warm: None,
    run: |server, ground| upload(server, 8, ground.part),
};

pub const FORM: Scenario = Scenario {
    name: "1 upload, form",
    about: "one large file in, as the part of a form",
    unit: Unit::Transfer,
    reference: "axum, streamed",
    can: |routes| routes.form.is_some(),
    warm: None,
    run: |server, ground| {
        let form = server.form("form.bin", ground.large)?;
        crowd(1, |_, _| send(server, &form, ground.large))?;
        Ok(Work { amount: ground.large as f64, ..Work::default() })
    },
};

pub const DOWNLOAD: Scenario = Scenario {
    name: "1 download",
    about: "one large file out of the page cache, for the second time",
    unit: Unit::Transfer,
    reference: COPY,
    can: |routes| routes.large.is_some(),
    warm: Some(|server, _| download(server, 1, server.routes.large.as_deref()).map(drop)),
    run: |server, _| download(server, 1, server.routes.large.as_deref()),
};

pub const FIRST: Scenario = Scenario {
    name: "1 download, first",
    about: "one large file out of the page cache, for the first time: ours hashes it on its way",
    unit: Unit::Transfer,
    reference: COPY,
    can: |routes| routes.large.is_some(),
    warm: None,
    run: |server, _| download(server, 1, server.routes.large.as_deref()),
};

pub const DOWNLOADS: Scenario = Scenario {
    name: "32 downloads",
    about: "one file out of the page cache, to 32 clients at once, for the second time",
    unit: Unit::Transfer,
    reference: COPY,
    can: |routes| routes.part.is_some(),
    warm: Some(|server, _| download(server, 1, server.routes.part.as_deref()).map(drop)),
    run: |server, _| download(server, 32, server.routes.part.as_deref()),
};

pub const COLD: Scenario = Scenario {
    name: "1 download, cold",
    about: "one large file out of the disk, for the second time",
    unit: Unit::Transfer,
    reference: COPY,
    can: |routes| routes.large.is_some(),
    warm: Some(|server, ground| {
        // Off the disk once for all: what is behind it may have a cache of its own.
        forget(&ground.served())?;
        forget(&ground.content())?;
        download(server, 1, server.routes.large.as_deref())?;
        forget(&ground.served())?;
        forget(&ground.content())
    }),
    run: |server, _| download(server, 1, server.routes.large.as_deref()),
};

pub fn upload(server: &Server, count: usize, size: u64) -> Result<Work> {
    crowd(count, |index, together| {
        let around = server.upload(&format!("up-{index}.bin"), size)?;
        together.wait();
        send(server, &around, size)
    })?;
    Ok(Work { amount: (count as u64 * size) as f64, ..Work::default() })
}

/// A file of `size` bytes with what is around it.
fn send(server: &Server, (before, after): &(Vec<u8>, Vec<u8>), size: u64) -> Result<()> {
    let mut client = Client::connect(server.address)?;
    client.send(before)?;
    client.send_body(&noise(256 * 1024), size)?;
    client.send(after)?;
    let head = client.head()?;
    // miniserve answers with where to go on.
    ensure!((200..400).contains(&head.status), "answered {}", head.status);
    Ok(())
}

pub fn download(server: &Server, count: usize, path: Option<&str>) -> Result<Work> {
    let request = server.get(path.context("no such file")?);
    let received = crowd(count, |_, together| {
        let mut client = Client::connect(server.address)?;
        together.wait();
        client.get(&request)
    })?;
    Ok(Work { amount: received.iter().sum::<u64>() as f64, ..Work::default() })
}

/// Takes all files of a folder out of the page cache.
fn forget(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            forget(&path)?;
        } else {
            let file = File::open(path)?;
            // Only what has been written can go.
            file.sync_all()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}
