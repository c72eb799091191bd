#include <rtrain/checkpoint_io.h>

#include "proto/tensors/shard_index.h"
#include "proto/tensors/trainer_folder.h"
#include "worker/checkpoint/local_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>

namespace rtrain {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_checkpoint(const fs::path& path, const std::string& what) {
  throw std::runtime_error("checkpoint " + path.string() + ": " + what);
}

void sync_folder(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_checkpoint(path, std::strerror(errno));
  const int failed = ::fsync(fd) != 0 ? errno : 0;
  ::close(fd);
  if (failed != 0 && failed != EINVAL) fail_checkpoint(path, std::strerror(failed));
}

/// A name beside `path` that is nobody else's: what stands there is a leftover.
fs::path hidden_beside(const fs::path& path, const std::string& what) {
  return path.parent_path() / ("." + path.filename().string() + ".rtrain-" + what);
}

fs::path without_slash(const fs::path& path) {
  return (path.has_filename() ? path : path.parent_path()).lexically_normal();
}

std::unique_ptr<CheckpointFile> open_below(const fs::path& folder, const std::string& name) {
  std::error_code missing;
  if (!fs::exists(folder / name, missing)) return nullptr;
  return files::open_local(folder / name);
}

class LocalFolder final : public CheckpointFolder {
 public:
  explicit LocalFolder(fs::path path) : path_(std::move(path)) {}
  [[nodiscard]] std::unique_ptr<CheckpointFile> open(const std::string& name) const override {
    return open_below(path_, name);
  }

 private:
  fs::path path_;
};

class LocalDraft final : public CheckpointDraft {
 public:
  LocalDraft(const fs::path& path, int rank) : path_(path), partial_(hidden_beside(path, "partial")) {
    if (rank == 0) fs::remove_all(partial_);
    fs::create_directories(partial_);
  }
  ~LocalDraft() override {
    if (published_) return;
    std::error_code ignored;
    fs::remove_all(partial_, ignored);
  }
  LocalDraft(const LocalDraft&) = delete;
  LocalDraft& operator=(const LocalDraft&) = delete;

  void write(const std::string& name, const Content& content) override {
    files::write_local(partial_ / name, content);
  }
  void write_ranges(const std::string& name, std::uint64_t size, const Ranges& ranges) override {
    files::write_local_ranges(partial_ / name, size, ranges);
  }
  [[nodiscard]] std::unique_ptr<CheckpointFile> open(const std::string& name) const override {
    return open_below(partial_, name);
  }
  /// Whoever looks, or starts again after a kill, finds the older checkpoint or this one, except on file
  /// systems that cannot exchange names (NFS): there the older one has a name beside it for a moment.
  void publish() override {
    published_ = true;
    if (!fs::exists(partial_)) return;  // it was rank 0's, too
    sync_folder(partial_);
    const auto old = hidden_beside(path_, "old");
    fs::remove_all(old);
    if (fs::exists(path_) &&
        ::renameat2(AT_FDCWD, partial_.c_str(), AT_FDCWD, path_.c_str(), RENAME_EXCHANGE) == 0) {
      fs::remove_all(partial_);
    } else {
      if (fs::exists(path_)) fs::rename(path_, old);
      fs::rename(partial_, path_);
      fs::remove_all(old);
    }
    sync_folder(path_.parent_path().empty() ? fs::path(".") : path_.parent_path());
  }

 private:
  fs::path path_, partial_;
  bool published_ = false;
};

}  // namespace

void CheckpointDraft::write_ranges(const std::string& name, std::uint64_t, const Ranges&) {
  throw std::runtime_error(name +
                           " is written by several ranks together (the strategy shards the model), which "
                           "this CheckpointIO does not "
                           "do: override CheckpointDraft::write_ranges(), or use LocalCheckpointIO");
}

std::unique_ptr<CheckpointDraft> LocalCheckpointIO::begin(const fs::path& path, int rank) {
  const auto to = without_slash(path);
  const bool has_model = fs::exists(to / tensors::kModelFile) || fs::exists(to / tensors::kIndexFile);
  if (fs::exists(to) && !has_model && !(fs::is_directory(to) && fs::is_empty(to)))
    fail_checkpoint(to, "the path exists and is not a checkpoint; choose another path or remove it");
  return std::make_unique<LocalDraft>(to, rank);
}

std::unique_ptr<CheckpointFolder> LocalCheckpointIO::open(const fs::path& path) {
  if (!fs::exists(path)) return nullptr;
  return std::make_unique<LocalFolder>(path);
}

bool LocalCheckpointIO::exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

void LocalCheckpointIO::remove(const fs::path& path) {
  std::error_code failed;
  fs::remove_all(path, failed);
  if (failed) throw std::runtime_error(path.string() + " could not be removed: " + failed.message());
}

RTRAIN_REGISTER(CheckpointIO, "LocalCheckpointIO", LocalCheckpointIO);

}  // namespace rtrain
