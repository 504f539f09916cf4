//! A private PostgreSQL server in a folder of its own, stopped and removed afterwards.

use std::{
    os::unix::{
        fs::{PermissionsExt, chown},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// Why there is no server, in the words of the report.
pub const ABSENT: &str = "PostgreSQL is not installed";

/// A server that ends with this value.
#[derive(Debug)]
pub struct Server {
    folder: TempDir,
    process: Mutex<Child>,
}

impl Server {
    /// Starts a server in a new folder under `place`, with default settings.
    ///
    /// # Errors
    /// It is not installed ([`ABSENT`]), or does not start.
    pub fn start(place: &Path) -> Result<Self> {
        let programs = programs().context(ABSENT)?;
        let folder = tempfile::Builder::new().prefix("pg").tempdir_in(place)?;
        // The server refuses to run as root, so it gets a user of its own where we are root.
        let user = postgres_user()?;
        if let Some((user, group)) = user {
            chown(folder.path(), Some(user), Some(group))?;
        }
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700))?;
        let data = folder.path().join("data");
        let log = std::fs::File::create(place.join("postgres.log"))?;
        let made = run_as(user, &programs.join("initdb"))
            .current_dir(folder.path())
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(log.try_clone()?)
            .status()?;
        ensure!(made.success(), "initdb: {made}");
        let process = run_as(user, &programs.join("postgres"))
            .current_dir(folder.path())
            .args(["-c", "listen_addresses=", "-k"])
            .arg(folder.path())
            .arg("-D")
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let server = Self { folder, process: Mutex::new(process) };
        server.wait()?;
        Ok(server)
    }

    fn wait(&self) -> Result<()> {
        let socket = self.folder.path().join(".s.PGSQL.5432");
        let begun = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            if let Some(status) = self.process.lock().try_wait()? {
                bail!("the server ended: {status}");
            }
            ensure!(begun.elapsed() < Duration::from_secs(30), "the server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(super) async fn connect(&self) -> Result<Client> {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.folder.path()).user("postgres").dbname("postgres");
        let begun = Instant::now();
        loop {
            match config.connect(NoTls).await {
                Ok((client, connection)) => {
                    // It ends with its client; what goes wrong reaches the client as well.
                    tokio::spawn(async move { connection.await.is_ok() });
                    return Ok(client);
                }
                // It listens before it is ready.
                Err(_) if begun.elapsed() < Duration::from_secs(10) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut process = self.process.lock();
        // SIGINT is its "fast shutdown"; where that fails there is nothing left but to end it.
        let asked = Command::new("kill").args(["-INT", &process.id().to_string()]).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = process.kill();
        }
        let _ = process.wait();
    }
}

/// The folder of the newest server that is installed.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&on_path));
    folders.into_iter().rev().find(|folder| folder.join("initdb").is_file())
}

/// User and group to run the server as; `None` where we are not root ourselves.
fn postgres_user() -> Result<Option<(u32, u32)>> {
    let id = |args: &[&str]| -> Result<u32> {
        let output = Command::new("id").args(args).output()?;
        String::from_utf8(output.stdout)?.trim().parse().context("there is no user `postgres`")
    };
    if id(&["-u"])? != 0 {
        return Ok(None);
    }
    Ok(Some((id(&["-u", "postgres"])?, id(&["-g", "postgres"])?)))
}

fn run_as(user: Option<(u32, u32)>, program: &Path) -> Command {
    let Some((user, group)) = user else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".into()]);
    command.arg(program);
    command
}
