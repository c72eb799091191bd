#include "worker/runtime/checkpoint_store.h"

#include "common/log/log.h"
#include "common/os/fd.h"
#include "common/os/file.h"
#include "proto/tensors/checksums.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <string_view>

namespace rtrain::runtime {
namespace {

namespace fs = std::filesystem;
using os::Fd;

std::string numbered(const char* what, std::int64_t number) {
  char name[48];
  std::snprintf(name, sizeof name, "%s_%06lld", what, static_cast<long long>(number));
  return name;
}

/// Bytes from one file to another inside the kernel where it can (shared blocks on file systems that know
/// them), else by hand.
Result<Done> copy_bytes(int from, int to, const std::string& source, const std::string& target) {
  for (bool in_kernel = true;;) {
    ssize_t n = 0;
    if (in_kernel) {
      n = ::copy_file_range(from, nullptr, to, nullptr, 1u << 30, 0);
      if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP)) {
        in_kernel = false;
        continue;
      }
      if (n < 0 && errno != EINTR) return fail_errno("write " + target, errno);
    } else {
      static thread_local std::vector<char> chunk(1u << 20);
      n = ::read(from, chunk.data(), chunk.size());
      if (n < 0 && errno != EINTR) return fail_errno("read " + source, errno);
      for (ssize_t done = 0; done < n;) {
        const ssize_t written = ::write(to, chunk.data() + done, static_cast<std::size_t>(n - done));
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return fail_errno("write " + target, errno);
        done += written;
      }
    }
    if (n == 0) return ok();
  }
}

/// checkpoint_000003
bool is_numbered(const std::string& name) {
  constexpr std::string_view kStored = "checkpoint_";
  return name.starts_with(kStored) &&
         name.find_first_not_of("0123456789", kStored.size()) == std::string::npos;
}

/// How a file comes into storage: kMove for one that is there already and nobody needs where it is.
enum class Bring { kCopy, kMove };

Result<Done> move_file(const fs::path& source, const fs::path& target) {
  if (auto synced = os::fsync_path(source.string()); !synced) return synced;
  if (::rename(source.c_str(), target.c_str()) != 0)
    return fail_errno("rename " + source.string() + " to " + target.string(), errno);
  return ok();
}

/// Both lie below the run's folder, which may hold mounts.
bool on_one_disk(const fs::path& a, const fs::path& b) {
  struct stat of_a {
  }, of_b{};
  return ::stat(a.c_str(), &of_a) == 0 && ::stat(b.c_str(), &of_b) == 0 && of_a.st_dev == of_b.st_dev;
}

/// Under a name of its own first: two ranks may bring the same file.
Result<Done> copy_file(const fs::path& source, const fs::path& target, int rank) {
  const std::string temporary =
      (target.parent_path() / ("." + target.filename().string() + ".rank-" + std::to_string(rank))).string();
  Fd from(::open(source.c_str(), O_RDONLY | O_CLOEXEC));
  if (!from.is_open()) return fail_errno("open " + source.string(), errno);
  struct stat info {};
  if (::fstat(from.get(), &info) != 0) return fail_errno("stat " + source.string(), errno);
  Fd to(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, info.st_mode & 0777));
  if (!to.is_open()) return fail_errno("create " + temporary, errno);
  if (auto copied = copy_bytes(from.get(), to.get(), source.string(), target.string()); !copied)
    return copied;
  if (::fsync(to.get()) != 0 || to.close() != 0) return fail_errno("write " + target.string(), errno);
  if (::rename(temporary.c_str(), target.c_str()) != 0)
    return fail_errno("rename " + temporary + " to " + target.string(), errno);
  return ok();
}

Result<Done> bring_tree(const fs::path& source, const fs::path& target, int rank, Bring how) {
  if (auto made = os::make_dirs(target.string()); !made) return made;
  std::error_code error;
  for (fs::directory_iterator it(source, error), end; !error && it != end; it.increment(error)) {
    const auto kind = it->status(error).type();
    if (error && it->is_symlink()) {
      std::error_code ignored;
      return fail(Errc::kIo, it->path().string() + " is a link to " +
                                 fs::read_symlink(it->path(), ignored).string() +
                                 ", which cannot be read: " + error.message());
    }
    if (error) return fail(Errc::kIo, it->path().string() + ": " + error.message());
    const auto to = target / it->path().filename();
    Result<Done> copied = ok();
    if (kind == fs::file_type::directory)
      copied = bring_tree(it->path(), to, rank, how);
    else if (kind == fs::file_type::regular)
      copied = how == Bring::kMove && !it->is_symlink() && on_one_disk(it->path(), target)
                   ? move_file(it->path(), to)
                   : copy_file(it->path(), to, rank);
    else
      copied = fail(Errc::kIo, it->path().string() + ": neither a file nor a folder, cannot be stored");
    if (!copied) return copied;
  }
  if (error) return fail(Errc::kIo, "read folder " + source.string() + ": " + error.message());
  return os::fsync_path(target.string());
}

}  // namespace

CheckpointStore::CheckpointStore(std::string run_dir, std::int64_t attempt, int rank, int world_size)
    : run_dir_(std::move(run_dir)),
      suffix_(".tmp-" + std::to_string(attempt)),
      attempt_(attempt),
      rank_(rank),
      world_size_(std::max(world_size, rank + 1)) {}

std::string CheckpointStore::path(std::int64_t index) const {
  return run_dir_ + "/" + numbered("checkpoint", index);
}
std::string CheckpointStore::staging_path(std::int64_t report) const {
  return run_dir_ + "/." + numbered("checkpoint_report", report) + suffix_;
}

std::string CheckpointStore::sums_path(std::int64_t report, int rank) const {
  return staging_path(report) + ".sums-" + std::to_string(rank);
}

std::string CheckpointStore::scratch_path() const {
  return run_dir_ + "/.checkpoint_made_by_rank_" + std::to_string(rank_) + suffix_;
}

std::string CheckpointStore::hidden_path(std::int64_t index) const {
  return run_dir_ + "/." + numbered("checkpoint", index) + ".tmp-old";
}

Result<Done> CheckpointStore::remove_leftovers() const {
  std::error_code error;
  for (fs::directory_iterator it(run_dir_, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with(".checkpoint_") || name.find(".tmp-") == std::string::npos) continue;
    std::error_code removal;
    fs::remove_all(it->path(), removal);
    if (removal) return fail(Errc::kIo, "remove " + it->path().string() + ": " + removal.message());
  }
  if (error && error != std::errc::no_such_file_or_directory)
    return fail(Errc::kIo, "read folder " + run_dir_ + ": " + error.message());
  return ok();
}

Result<std::string> CheckpointStore::make_scratch() const {
  const auto path = scratch_path();
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return fail(Errc::kIo, "remove " + path + ": " + error.message());
  if (auto made = os::make_dirs(path); !made) return made.error();
  return path;
}

Result<Done> CheckpointStore::accepts(const std::string& source) const {
  std::error_code error;
  const auto given = fs::weakly_canonical(source, error), run = fs::weakly_canonical(run_dir_, error);
  const auto holds = [](const fs::path& outer, const fs::path& inner) {
    return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
  };
  const auto refused = [&](const std::string& why) {
    return fail(Errc::kInvalidArgument, "the checkpoint " + source + " " + why,
                "write the files into a folder of their own and report that; it is copied");
  };
  if (given == run) return refused("is the run's own folder");
  if (holds(given, run)) return refused("holds the run's folder " + run_dir_);
  if (!holds(run, given)) return ok();
  const auto first = *std::next(given.begin(), std::distance(run.begin(), run.end()));
  if (is_numbered(first.string()))
    return refused("is already stored by the run, or is part of a stored checkpoint");
  return ok();
}

bool CheckpointStore::owns(const std::string& path) const {
  std::error_code error;
  const auto given = fs::weakly_canonical(path, error), run = fs::weakly_canonical(run_dir_, error);
  return !error && given != run &&
         std::mismatch(run.begin(), run.end(), given.begin(), given.end()).first == run.end();
}

Result<Done> CheckpointStore::accepts_name(const std::string& name) {
  const auto refused = [&](const std::string& why) {
    return fail(Errc::kInvalidArgument, "checkpoint_dir_name \"" + name + "\" " + why,
                "give the name of a folder that is made below the run's folder, such as \"epoch-3\"");
  };
  if (name.empty()) return refused("is empty");
  if (name.find('/') != std::string::npos || name.find('\0') != std::string::npos)
    return refused("is a path");
  if (name.front() == '.') return refused("begins with a point");
  if (name.size() > 200) return refused("is longer than 200 bytes");
  if (is_numbered(name)) return refused("is the form of the names that report() gives itself");
  return ok();
}

Result<Done> CheckpointStore::stage(const std::string& source, std::int64_t report, bool may_move) const {
  std::error_code error;
  if (!fs::is_directory(source, error))
    return fail(Errc::kNotFound,
                "checkpoint folder " + source + ": " + (error ? error.message() : "is not a folder"));
  const auto sums = tensors::make_checksums(source, tensors::known_below(source));
  if (auto brought =
          bring_tree(source, staging_path(report), rank_,
                     source == scratch_path() || (may_move && owns(source)) ? Bring::kMove : Bring::kCopy);
      !brought)
    return brought;  // it says more of what cannot be read
  if (!sums) return sums.error();
  return os::replace_file(sums_path(report, rank_), tensors::checksums_text(*sums));
}

Result<Done> CheckpointStore::write_sums(std::int64_t report) const {
  const auto staged = staging_path(report);
  tensors::Checksums all;
  for (int rank = 0; rank < world_size_; ++rank) {
    const auto path = sums_path(report, rank);
    const auto text = os::read_file(path);
    if (!text && text.error().code() == Errc::kNotFound) continue;  // a rank without a checkpoint
    if (!text) return text.error();
    const auto sums = tensors::parse_checksums(*text);
    if (!sums) return sums.error().in(path);
    for (const auto& [file, checksum] : sums->files) {
      const auto [known, is_new] = all.files.emplace(file, checksum);
      if (is_new || known->second == checksum) continue;
      const auto stayed = tensors::checksum_of((fs::path(staged) / file).string());
      if (!stayed) return stayed.error();
      known->second = *stayed;
    }
  }
  return tensors::write_checksums(staged, all);
}

void CheckpointStore::remove_sums(std::int64_t report) const {
  for (int rank = 0; rank < world_size_; ++rank) ::unlink(sums_path(report, rank).c_str());
}

Result<Done> CheckpointStore::publish(std::int64_t report, std::int64_t index, const std::string& name,
                                      const std::vector<proto::CheckpointRecord>& kept) const {
  const std::string target = name.empty() ? path(index) : run_dir_ + "/" + name;
  if (!name.empty() && ::access(target.c_str(), F_OK) == 0) {
    // One that an earlier attempt wrote and could not report has checksums, and nobody knows it.
    const bool is_kept = std::any_of(kept.begin(), kept.end(),
                                     [&](const auto& checkpoint) { return checkpoint.path == target; });
    const bool is_leftover =
        !is_kept && attempt_ > 1 && ::access((target + "/" + tensors::kChecksumsFile).c_str(), F_OK) == 0;
    if (!is_leftover)
      return fail(Errc::kInvalidArgument, "checkpoint_dir_name \"" + name + "\": " + target + " exists",
                  "give each checkpoint of a run a name of its own");
  }
  const std::string old = hidden_path(index);
  if (::rename(target.c_str(), old.c_str()) == 0) {
    std::error_code ignored;
    fs::remove_all(old, ignored);
  }
  const std::string staged = staging_path(report);
  if (auto summed = write_sums(report); !summed) return summed;
  remove_sums(report);
  if (auto synced = os::fsync_path(staged); !synced) return synced;
  if (::rename(staged.c_str(), target.c_str()) != 0)
    return fail_errno("rename " + staged + " to " + target, errno);
  return os::fsync_path(run_dir_);
}

void CheckpointStore::discard(std::int64_t report) const {
  std::error_code ignored;
  fs::remove_all(staging_path(report), ignored);
  ::unlink(sums_path(report, rank_).c_str());
}

std::vector<std::string> CheckpointStore::remove(
    const std::vector<proto::CheckpointRecord>& checkpoints) const {
  std::vector<std::string> gone;
  for (const auto& checkpoint : checkpoints) {
    if (!owns(checkpoint.path)) {
      gone.push_back(checkpoint.path);
      continue;
    }
    // Another name first: nobody sees a checkpoint with half of its files.
    const std::string hidden = hidden_path(checkpoint.index);
    std::error_code error;
    if (::rename(checkpoint.path.c_str(), hidden.c_str()) == 0)
      fs::remove_all(hidden, error);
    else if (errno != ENOENT)
      error = {errno, std::generic_category()};
    if (error)
      log::warn("could not remove an old checkpoint",
                {{"path", checkpoint.path}, {"cause", error.message()}});
    if (::access(checkpoint.path.c_str(), F_OK) != 0) gone.push_back(checkpoint.path);
  }
  return gone;
}

}  // namespace rtrain::runtime
