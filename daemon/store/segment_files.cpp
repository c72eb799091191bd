#include "daemon/store/segment_files.h"

#include "common/base/fault.h"
#include "common/log/log.h"
#include "daemon/store/disk_error.h"

#include <filesystem>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rtrain::store {
namespace {

/// The whole of `bytes` at `offset`. What a failure leaves behind lies beyond what counts and is written
/// over.
Result<Done> write_at(int fd, std::string_view bytes, std::int64_t offset, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return disk_error("write " + path, errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
    offset += n;
  }
  return ok();
}

/// Makes one folder. True: it was not there.
Result<bool> make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0) return true;
  if (errno == EEXIST) return false;
  return disk_error("make folder " + path, errno);
}

}  // namespace

SegmentFiles::SegmentFiles(std::string state_dir, Options options)
    : state_dir_(std::move(state_dir)), options_(options) {}

SegmentFiles::~SegmentFiles() {
  for (auto& [id, tail] : tails_)
    if (tail.fd >= 0) ::close(tail.fd);
}

void SegmentFiles::adopt(JobId id, const std::vector<SegmentRow>& rows, bool damaged) {
  auto& adopted = tails_[id];
  adopted.written = adopted.durable = rows.back();
  adopted.damaged = damaged;
  for (const auto& row : rows) rows_[{id, row.segment}] = row;
  show(id);
}

void SegmentFiles::show(JobId id) {
  const std::lock_guard lock(mutex_);
  auto& shown = durable_[id];
  shown.clear();
  for (auto row = rows_.lower_bound({id, 0}); row != rows_.end() && row->first.first == id; ++row)
    shown.push_back(row->second);
}

Result<Done> SegmentFiles::append(JobId id, std::string_view records, std::int64_t points,
                                  std::size_t last_at) {
  auto& tail = tails_[id];
  if (tail.written.segment < 0 || tail.damaged || tail.written.bytes >= options_.segment_bytes) {
    if (auto started = start_segment(id, tail); !started) return started;
  } else if (auto opened = open(id, tail); !opened) {
    return opened;
  }
  const auto path = segment_path(state_dir_, id, tail.written.segment);
  if (auto written = write_at(tail.fd, records, tail.written.bytes, path); !written) return written;
  tail.written.last_at = tail.written.bytes + static_cast<std::int64_t>(last_at);
  tail.written.bytes += static_cast<std::int64_t>(records.size());
  tail.written.points += points;
  dirty_.insert(id);
  return ok();
}

Result<Done> SegmentFiles::start_segment(JobId id, Tail& tail) {
  // The last file first: a later point must not be durable before an earlier one.
  if (dirty_.contains(id))
    if (auto synced = sync_file(id, tail); !synced) return synced;
  close(tail);
  SegmentRow next;
  next.segment = tail.written.segment + 1;
  next.first = tail.written.end();
  if (next.segment == 0) {
    const auto root = metrics_folder(state_dir_), folder = segment_folder(state_dir_, id);
    const std::string shard = std::filesystem::path(folder).parent_path();
    for (const auto& path : {root, shard, folder}) {
      auto made = make_folder(path);
      if (!made) return made.error();
      if (*made) new_in_.insert(std::filesystem::path(path).parent_path());
    }
  }
  const auto path = segment_path(state_dir_, id, next.segment);
  const auto fd = open_file(path, O_CREAT | O_TRUNC);
  if (!fd) return fd.error();
  const auto header = segment_header(id, next.first);
  if (auto written = write_at(*fd, header, 0, path); !written) {
    ::close(*fd);
    ::unlink(path.c_str());
    return written;
  }
  next.bytes = kSegmentHeaderBytes;
  new_in_.insert(segment_folder(state_dir_, id));
  tail.written = next;
  tail.damaged = false;
  tail.fd = *fd;
  tail.used = open_.insert(open_.end(), id);
  dirty_.insert(id);
  return ok();
}

Result<Done> SegmentFiles::open(JobId id, Tail& tail) {
  if (tail.fd >= 0) {
    open_.splice(open_.end(), open_, tail.used);
    return ok();
  }
  const auto path = segment_path(state_dir_, id, tail.written.segment);
  const auto fd = open_file(path, 0);
  if (!fd) return fd.error();
  tail.fd = *fd;
  tail.used = open_.insert(open_.end(), id);
  return ok();
}

void SegmentFiles::close(Tail& tail) {
  if (tail.fd < 0) return;
  ::close(tail.fd);
  tail.fd = -1;
  open_.erase(tail.used);
}

/// For a file that is to be opened, others have to make way when there are enough of them, or no descriptor
/// is left.
Result<int> SegmentFiles::open_file(const std::string& path, int flags) {
  for (bool make_room = open_.size() >= options_.open_max;; make_room = true) {
    if (make_room)
      if (auto closed = close_oldest(); !closed) return closed.error();
    const int fd = ::open(path.c_str(), flags | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0) return fd;
    const int cause = errno;
    if (lack_of(cause) != Errc::kLimit || open_.empty()) return disk_error("open " + path, cause);
  }
}

/// What was written into it is forced to the disk; it is dirty all the same, for its folder's entry may not
/// be there yet.
Result<Done> SegmentFiles::close_oldest() {
  const JobId id = open_.front();
  auto& tail = tails_.at(id);
  if (dirty_.contains(id))
    if (auto synced = options_.disk.file(tail.fd, segment_path(state_dir_, id, tail.written.segment));
        !synced)
      return synced;
  close(tail);
  return ok();
}

Result<Done> SegmentFiles::sync_file(JobId id, Tail& tail) {
  if (tail.fd >= 0)  // else it was synced when it was closed
    if (auto synced = options_.disk.file(tail.fd, segment_path(state_dir_, id, tail.written.segment));
        !synced)
      return synced;
  if (auto synced = sync_folders(); !synced) return synced;
  is_durable(id, tail);
  dirty_.erase(id);
  return ok();
}

void SegmentFiles::is_durable(JobId id, Tail& tail) {
  unindexed_bytes_ +=
      tail.written.bytes - (tail.durable.segment == tail.written.segment ? tail.durable.bytes : 0);
  tail.durable = tail.written;
  rows_[{id, tail.durable.segment}] = tail.durable;
  show(id);
}

Result<Done> SegmentFiles::sync_folders() {
  for (const auto& folder : new_in_) {
    if (fault::on(fault::Fault::kFolderNotSynced)) continue;
    if (auto synced = options_.disk.folder(folder); !synced) return synced;
  }
  new_in_.clear();
  return ok();
}

Result<Done> SegmentFiles::sync(const std::set<JobId>& jobs) {
  std::vector<JobId> due;
  for (const auto id : jobs)
    if (dirty_.contains(id)) due.push_back(id);
  if (due.empty()) return ok();
  if (due.size() > kSingleSyncsMax || new_in_.size() > kSingleSyncsMax) {
    if (auto synced = options_.disk.file_system(state_dir_); !synced) return synced;
    new_in_.clear();
    due.assign(dirty_.begin(), dirty_.end());
    for (const auto id : due) is_durable(id, tails_.at(id));
    dirty_.clear();
  } else {
    for (const auto id : due)
      if (auto synced = sync_file(id, tails_.at(id)); !synced) return synced;
  }
  return ok();
}

Result<Done> SegmentFiles::sync_all() { return sync(std::set<JobId>(dirty_)); }

void SegmentFiles::forget(JobId id) {
  const auto found = tails_.find(id);
  if (found == tails_.end()) return;
  close(found->second);
  tails_.erase(found);
  dirty_.erase(id);
  const std::lock_guard lock(mutex_);
  durable_.erase(id);
}

void SegmentFiles::remove(JobId id) {
  forget(id);
  const std::filesystem::path folder = segment_folder(state_dir_, id);
  std::error_code ec;
  std::filesystem::remove_all(folder, ec);
  if (ec)
    log::warn("the metrics of a job that was pruned cannot be deleted",
              {{"folder", folder.string()}, {"cause", ec.message()}});
  new_in_.erase(folder);
  const auto shard = folder.parent_path();
  if (::rmdir(shard.c_str()) == 0) new_in_.erase(shard);  // the last one of a thousand
}

void SegmentFiles::rows_stored() {
  rows_.clear();
  unindexed_bytes_ = 0;
}

std::vector<SegmentRow> SegmentFiles::durable(JobId id) const {
  const std::lock_guard lock(mutex_);
  const auto found = durable_.find(id);
  return found == durable_.end() ? std::vector<SegmentRow>() : found->second;
}

}  // namespace rtrain::store
