#include "cli/doctor_storage.h"

#include "cli/limited_child.h"
#include "cli/text.h"
#include "proto/json.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <vector>

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace rtrain::cli {
namespace fs = std::filesystem;
namespace {

using proto::Check;
using proto::Health;
using proto::Json;
using Clock = std::chrono::steady_clock;

constexpr double kGib = 1 << 30;
/// A slow disk is measured with less, not taken for one that hangs.
constexpr double kFsyncsMs = 2000, kWriteMs = 4000;

double ms_since(Clock::time_point begun) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begun).count();
}

/// A file that is gone with its descriptor.
class Scratch {
 public:
  explicit Scratch(const std::string& folder)
      : fd_(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)) {
    if (fd_ >= 0) return;
    std::string path = folder + "/.rtrain-doctor-XXXXXX";  // a file system without O_TMPFILE
    fd_ = ::mkostemp(path.data(), O_CLOEXEC);
    if (fd_ >= 0) ::unlink(path.c_str());
  }
  ~Scratch() {
    if (fd_ >= 0) ::close(fd_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] bool open() const { return fd_ >= 0; }
  /// errno is why not.
  [[nodiscard]] bool write(std::string_view data) const {
    while (!data.empty()) {
      const auto count = ::write(fd_, data.data(), data.size());
      if (count < 0 && errno == EINTR) continue;
      // Less than was asked: only the next call tells why.
      if (count < 0) return false;
      data.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }
  [[nodiscard]] bool sync() const { return ::fsync(fd_) == 0; }

 private:
  int fd_;
};

/// SIGXFSZ would end the program where a file meets ulimit -f; ignored, write() gives EFBIG.
class IgnoreFileSize {
 public:
  IgnoreFileSize() : before_(std::signal(SIGXFSZ, SIG_IGN)) {}
  ~IgnoreFileSize() { std::signal(SIGXFSZ, before_); }
  IgnoreFileSize(const IgnoreFileSize&) = delete;
  IgnoreFileSize& operator=(const IgnoreFileSize&) = delete;

 private:
  void (*before_)(int);
};

/// The nearest folder at or above `path`; `problem` when there is something else in its place.
std::string nearest_folder(const std::string& path, std::string& problem,
                           const std::function<void(const std::string&)>& next) {
  for (fs::path folder = path;; folder = folder.parent_path()) {
    next("a look at " + folder.string());
    std::error_code error;
    const auto status = fs::status(folder, error);
    if (fs::is_directory(status)) return folder.string();
    if (fs::exists(status)) return problem = folder.string() + " is not a folder", "";
    if (status.type() != fs::file_type::not_found)
      return problem = folder.string() + ": " + error.message(), "";
    if (!folder.has_relative_path()) return problem = folder.string() + " is not there", "";
  }
}

/// "0.08", "4.1", "1260": no exponent.
std::string rate(double value) { return value < 100 ? number(value, 2) : number(std::round(value), 9); }

}  // namespace

StorageFacts look_at_storage(const std::string& path, const std::function<void(const std::string&)>& next) {
  StorageFacts facts;
  facts.path = path;
  const auto folder = nearest_folder(path, facts.problem, next);  // a run makes the rest
  if (!facts.problem.empty()) return facts;
  facts.is_there = folder == path;
  next("the free space of " + folder);
  struct statvfs space {};
  if (::statvfs(folder.c_str(), &space) == 0)
    facts.free_bytes = static_cast<double>(space.f_bavail) * static_cast<double>(space.f_frsize);
  const IgnoreFileSize file_size;
  next("a new file in " + folder);
  const Scratch file(folder);
  if (!file.open()) {
    if (errno == EMFILE || errno == ENFILE) facts.way_out = kRaiseLimits;
    return facts.problem = folder + ": " + std::strerror(errno), facts;
  }
  const auto full = [&](const char* what) {
    if (errno == EFBIG)
      facts.way_out =
          "raise the size that files may have: ulimit -f unlimited, LimitFSIZE=infinity in the service's "
          "unit";
    facts.problem = folder + ": " + std::strerror(errno) + ", for a file of " + what + "; " +
                    bytes(facts.free_bytes) + " are free";
    return facts;
  };
  next("a write and an fsync in " + folder);
  std::vector<double> waits;
  const std::string page(4096, 'x'), much(std::size_t{1} << 20, 'x');
  for (const auto begun = Clock::now();
       waits.size() < 16 && (waits.empty() || ms_since(begun) < kFsyncsMs);) {
    const auto one = Clock::now();
    if (!file.write(page) || !file.sync()) return full("64 KiB");
    waits.push_back(ms_since(one));
  }
  std::ranges::sort(waits);
  facts.fsync_ms = waits[waits.size() / 2];
  const auto begun = Clock::now();
  int mebibytes = 0;
  do {
    // One at a time: what waits in the page cache of a slow disk would take its time at the end.
    if (!file.write(much) || (++mebibytes % 8 == 0 && !file.sync())) return full("64 MiB");
  } while (mebibytes < 64 && ms_since(begun) < kWriteMs);
  if (!file.sync()) return full("64 MiB");
  facts.write_mb_s = static_cast<double>(much.size()) * mebibytes / 1e6 / (ms_since(begun) / 1000);
  return facts;
}

StorageFacts look_at_storage_apart(const std::string& path, std::chrono::milliseconds limit) {
  std::optional<StorageFacts> answer;
  std::string last;
  const auto end = run_limited([&] { tell_parent(storage_line(look_at_storage(path, tell_parent))); }, limit,
                               [&](const std::string& line) {
                                 if (line.starts_with('{'))
                                   answer = read_storage_line(line);
                                 else
                                   last = line;
                               });
  if (end.problem.empty() && answer) return *answer;
  StorageFacts failed;
  failed.path = path;
  if (end.how == ChildEnd::How::kLate) {
    failed.way_out =
        "see whether its server can be reached and whether it is frozen (mount, dmesg); --storage DIR and "
        "storage_path in job files name another folder";
    failed.problem = path + ": the file system does not answer within " +
                     std::to_string(limit.count() / 1000) + " s" +
                     (last.empty() ? "" : "; it was asked for " + last);
  } else {
    const bool no_memory = last == kNoMemory;
    if (no_memory || end.how == ChildEnd::How::kNotStarted) failed.way_out = kRaiseLimits;
    failed.problem = path + " was not looked at: the process for it " +
                     (no_memory             ? "has no memory left"
                      : end.problem.empty() ? "ended without an answer"
                                            : end.problem);
  }
  return failed;
}

std::string why_not_writable(const std::string& folder) {
  const Scratch file(folder);
  return file.open() ? "" : std::strerror(errno);
}

std::string storage_line(const StorageFacts& facts) {
  return proto::dump_json({{"path", facts.path},
                           {"problem", facts.problem},
                           {"way_out", facts.way_out},
                           {"is_there", facts.is_there},
                           {"free_bytes", facts.free_bytes},
                           {"fsync_ms", facts.fsync_ms},
                           {"write_mb_s", facts.write_mb_s}});
}

std::optional<StorageFacts> read_storage_line(const std::string& line) {
  const auto json = proto::parse_json(line);
  if (!json) return std::nullopt;
  try {
    StorageFacts facts;
    json->at("path").get_to(facts.path);
    json->at("problem").get_to(facts.problem);
    json->at("way_out").get_to(facts.way_out);
    json->at("is_there").get_to(facts.is_there);
    json->at("free_bytes").get_to(facts.free_bytes);
    json->at("fsync_ms").get_to(facts.fsync_ms);
    json->at("write_mb_s").get_to(facts.write_mb_s);
    return facts;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

Check judge_storage(const StorageFacts& storage) {
  if (!storage.problem.empty())
    return {"storage",
            Health::kFailure,
            storage.problem,
            storage.way_out.empty()
                ? "name a folder with room that can be written: --storage DIR, and storage_path in job files"
                : storage.way_out,
            {}};
  Check check{"storage",
              Health::kOk,
              "",
              "",
              {{"free_gib", storage.free_bytes / kGib},
               {"fsync_ms", storage.fsync_ms},
               {"write_mb_s", storage.write_mb_s}}};
  check.detail = storage.path + ": " + (storage.is_there ? "" : "not there yet, a job makes it; ") +
                 bytes(storage.free_bytes) + " free, fsync " + rate(storage.fsync_ms) + " ms, writes " +
                 rate(storage.write_mb_s) + " MB/s";
  if (storage.free_bytes < kGib) {
    check.health = Health::kWarning;
    check.hint =
        "checkpoints may not fit into less than 1 GiB: free some, or name another folder with --storage DIR "
        "and storage_path in job files";
  } else if (storage.fsync_ms > 20) {
    check.health = Health::kWarning;
    check.hint =
        "each checkpoint waits for several fsyncs, each submit for one where the head's state_dir is on this "
        "disk: use a faster disk";
  }
  return check;
}

}  // namespace rtrain::cli
