#include "daemon/store/backup.h"

#include "common/log/log.h"
#include "common/os/file.h"
#include "daemon/store/schema.h"
#include "proto/json.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include <pthread.h>
#include <sqlite3.h>
#include <unistd.h>

namespace rtrain::store {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kPrefix = "journal-", kSuffix = ".db";
/// A letter, so that names without a number, those of older heads, come before all others where files are
/// listed by name.
constexpr char kNumberMark = 'n';

/// "journal-n00000012-2026-11-23_22-30-00.123.db" -> 12; 0 for one that an older head made.
std::int64_t number_of(std::string_view path) {
  auto name = path.substr(path.rfind('/') + 1).substr(kPrefix.size());
  std::int64_t number = 0;
  if (!name.starts_with(kNumberMark)) return 0;
  name.remove_prefix(1);
  const auto [end, ec] = std::from_chars(name.data(), name.data() + name.size(), number);
  return ec == std::errc{} && end != name.data() + name.size() && *end == '-' ? number : 0;
}

/// Copies the database behind `source` into a new file.
Result<Done> copy(Database& source, const std::string& path) {
  auto target = Database::open(path, Database::Mode::kCreate);
  if (!target) return target.error();
  // The copy is forced to the disk as a whole, below.
  if (auto set = (*target)->execute("PRAGMA synchronous=OFF"); !set) return set;
  sqlite3_backup* backup = sqlite3_backup_init((*target)->handle(), "main", source.handle(), "main");
  if (backup == nullptr) return (*target)->failed(sqlite3_errcode((*target)->handle()), "backup");
  // In one step, so that it is of one moment; writers go on beside it.
  const int stepped = sqlite3_backup_step(backup, -1);
  const int finished = sqlite3_backup_finish(backup);
  if (stepped != SQLITE_DONE) return (*target)->failed(stepped, "backup");
  if (finished != SQLITE_OK) return (*target)->failed(finished, "backup");
  return (*target)->execute("DELETE FROM meta WHERE key='log'");  // a copy is whole without one
}

void remove_with_log(const std::string& path) {
  std::error_code ignored;
  for (const char* ending : {"", "-wal", "-shm", "-journal"}) fs::remove(path + ending, ignored);
}

}  // namespace

std::string backup_folder(const std::string& state_dir) { return state_dir + "/backups"; }

std::vector<std::string> backups(const std::string& state_dir) {
  std::vector<std::string> found;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(backup_folder(state_dir), ec)) {
    const auto name = entry.path().filename().string();
    if (name.starts_with(kPrefix) && name.ends_with(kSuffix)) found.push_back(entry.path().string());
  }
  // By number: the time in a name is what a clock said. Only older heads' have nothing else.
  std::ranges::sort(found, [](const std::string& a, const std::string& b) {
    return std::pair(number_of(a), a) > std::pair(number_of(b), b);
  });
  return found;
}

Result<std::string> write_backup(const std::string& state_dir, const std::string& label) {
  const auto folder = backup_folder(state_dir);
  if (auto made = os::make_dirs(folder, 0700); !made) return made.error();
  std::string stamp = proto::rfc3339(os::unix_ms_now()).substr(0, 23);  // 2026-11-23T22:30:00.123
  std::ranges::replace(stamp, 'T', '_');
  std::ranges::replace(stamp, ':', '-');
  const auto before = backups(state_dir);
  auto number = std::to_string((before.empty() ? 0 : number_of(before.front())) + 1);
  number.insert(0, number.size() < 8 ? 8 - number.size() : 0, '0');
  const auto path = folder + "/" + std::string(kPrefix) + kNumberMark + number + "-" + stamp + label +
                    std::string(kSuffix),
             temporary = folder + "/tmp.db";
  remove_with_log(temporary);
  auto source = Database::open(journal_path(state_dir), Database::Mode::kReadOnly);
  if (!source) return source.error();
  auto done = copy(**source, temporary);
  if (done) done = os::fsync_path(temporary);
  if (done && ::rename(temporary.c_str(), path.c_str()) != 0) done = fail_errno("rename " + temporary, errno);
  if (done) done = os::fsync_path(folder);
  if (!done) {
    remove_with_log(temporary);
    return done.error();
  }
  return path;
}

void drop_old_backups(const std::string& state_dir, int kept) {
  const auto all = backups(state_dir);
  for (std::size_t i = static_cast<std::size_t>(std::max(kept, 1)); i < all.size(); ++i)
    remove_with_log(all[i]);
}

Backups::Backups(std::string state_dir, double interval_s, int kept)
    : state_dir_(std::move(state_dir)), interval_(interval_s), kept_(kept), thread_([this] { run(); }) {
  ::pthread_setname_np(thread_.native_handle(), "backup");
}

Backups::~Backups() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_one();
  thread_.join();
}

void Backups::run() {
  auto watch = Database::open(journal_path(state_dir_), Database::Mode::kReadOnly);
  if (!watch) return log::error("no backups are made", {{"cause", watch.error().message()}});
  std::int64_t seen = -1;
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, interval_, [this] { return stopping_; })) {
    lock.unlock();
    const auto version = (*watch)->integer("PRAGMA data_version");  // another connection's commit changes it
    if (version && *version != seen) {
      if (auto path = write_backup(state_dir_)) {
        seen = *version;
        log::debug("backup written", {{"file", *path}});
        drop_old_backups(state_dir_, kept_);
      } else {
        log::error("the backup failed; the next try is in backup_interval_s",
                   {{"cause", path.error().message()}});
      }
    }
    lock.lock();
  }
}

}  // namespace rtrain::store
