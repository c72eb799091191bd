// Where the Trainer's checkpoints are kept: Lightning's CheckpointIO. A checkpoint is a folder of files.
#pragma once

#include <rtrain/cluster_environment.h>
#include <rtrain/export.h>
#include <rtrain/names.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace rtrain {

/// One file of a checkpoint, open for reading. Closed with the object. @thread one at a time.
class RTRAIN_API CheckpointFile {
 public:
  virtual ~CheckpointFile() = default;
  [[nodiscard]] virtual std::uint64_t size() const = 0;  ///< in bytes
  /// Reads `size` bytes from byte `at` on. @throws std::runtime_error names file and cause, also if there are
  /// fewer bytes.
  virtual void read(std::uint64_t at, void* into, std::size_t size) = 0;
};

/// A checkpoint that exists.
class RTRAIN_API CheckpointFolder {
 public:
  virtual ~CheckpointFolder() = default;
  /// Null: there is no such file.
  [[nodiscard]] virtual std::unique_ptr<CheckpointFile> open(const std::string& name) const = 0;
};

/// A checkpoint that is being written. Nobody sees it before publish(). One that is destroyed before that is
/// discarded.
class RTRAIN_API CheckpointDraft {
 public:
  /// Takes the next bytes of a file.
  using Append = std::function<void(std::string_view)>;
  /// Gives all bytes of a file, in pieces of any size, in order.
  using Content = std::function<void(const Append&)>;

  virtual ~CheckpointDraft() = default;
  /// Writes one file. It is durable when this returns.
  /// @throws std::runtime_error names file and cause; what `content` throws.
  virtual void write(const std::string& name, const Content& content) = 0;
  /// Puts bytes at a place of a file.
  using WriteAt = std::function<void(std::uint64_t at, std::string_view)>;
  using Ranges = std::function<void(const WriteAt&)>;
  /// Writes some bytes of a file of `size` bytes that all ranks write together, each its own, at the same
  /// time. The first call makes the file. What this rank wrote is durable when this returns.
  /// @throws std::runtime_error names file and cause. Default: this CheckpointIO cannot.
  virtual void write_ranges(const std::string& name, std::uint64_t size, const Ranges& ranges);
  /// A file that this or another rank wrote into the same checkpoint. Null: there is none here.
  [[nodiscard]] virtual std::unique_ptr<CheckpointFile> open(const std::string& name) const = 0;
  /// Gives the checkpoint its name, whole or not at all; a checkpoint that had the name goes away. Rank 0
  /// calls it once all ranks have written their files, the other ranks after that: one whose storage is rank
  /// 0's has nothing left to do.
  virtual void publish() = 0;
};

/// An element of TrainerOptions::plugins, at most one. All ranks have the same one. Paths are those that
/// save_checkpoint(), ModelCheckpoint and fit() get; an implementation is free to take them for keys.
/// @thread begin() and what it returns: the training thread, or one that AsyncCheckpointIO writes with; the
///         others may be called beside that.
class RTRAIN_API CheckpointIO : public Plugin {
 public:
  /// Begins a checkpoint. Rank 0 calls it before the other ranks and removes what a run that was killed left
  /// of an earlier one; all ranks write into the same checkpoint.
  /// @throws std::runtime_error `path` exists and is not a checkpoint.
  [[nodiscard]] virtual std::unique_ptr<CheckpointDraft> begin(const std::filesystem::path& path,
                                                               int rank) = 0;
  /// Null: there is nothing at `path`.
  [[nodiscard]] virtual std::unique_ptr<CheckpointFolder> open(const std::filesystem::path& path) = 0;
  [[nodiscard]] virtual bool exists(const std::filesystem::path& path) { return open(path) != nullptr; }
  /// Removes a checkpoint; nothing there is no error. @throws std::runtime_error names path and cause.
  virtual void remove(const std::filesystem::path& path) = 0;
  /// True if the paths are those of the file system, so that ModelCheckpoint can make links ("last.ckpt") and
  /// look for files.
  [[nodiscard]] virtual bool is_local() const { return false; }

  // Writing beside the training. The defaults are those of an implementation that writes in the call.

  /// True: a save is written by save(), from a snapshot that the Trainer makes, while training goes on.
  [[nodiscard]] virtual bool writes_later() const { return false; }
  /// Has `task` write the checkpoint `path` into the CheckpointIO that it is given. One that writes later
  /// runs it on a thread of its own, after what was asked for before.
  /// @throws what an earlier save threw; `task` is dropped then.
  virtual void save(const std::filesystem::path& path, std::function<void(CheckpointIO& io)> task);
  /// Waits until save() would not. @throws what an earlier save threw, once.
  virtual void wait_for_room() {}
  /// Waits until every save is written. @throws what a save threw, once. @thread any
  virtual void wait() {}
  /// Runs `task` once all saves so far are written, and not at all if one of them fails.
  virtual void after_saves(std::function<void()> task);
};

/// The default: folders in the file system. A checkpoint is written under a hidden name beside its own, every
/// file is synced to the disk, and a rename makes it visible.
class RTRAIN_API LocalCheckpointIO : public CheckpointIO {
 public:
  [[nodiscard]] std::string name() const override { return "LocalCheckpointIO"; }
  [[nodiscard]] std::unique_ptr<CheckpointDraft> begin(const std::filesystem::path& path, int rank) override;
  [[nodiscard]] std::unique_ptr<CheckpointFolder> open(const std::filesystem::path& path) override;
  [[nodiscard]] bool exists(const std::filesystem::path& path) override;
  void remove(const std::filesystem::path& path) override;
  [[nodiscard]] bool is_local() const override { return true; }
};

struct RTRAIN_API AsyncCheckpointIOOptions {
  std::shared_ptr<CheckpointIO> checkpoint_io{};  ///< where it writes to; default: LocalCheckpointIO
  /// saves that may wait beside the one that is being written; the next one waits for room. Each holds a copy
  /// of the checkpoint in host memory. 0 or more
  int waiting_max = 1;
};

/// Lightning's AsyncCheckpointIO: save_checkpoint() returns once it has asked for a snapshot of the tensors,
/// and a thread of its own writes it with another CheckpointIO.
///
/// The snapshot is in host memory; a GPU copies to pinned memory on a stream of its own. What an optimizer
/// steps is copied while the next forward and backward run, and the next optimizer step waits for the copy.
/// Everything else is copied before save_checkpoint() returns. A hook that changes a parameter between the
/// two is found out, and the save fails; call Trainer::wait_for_snapshot() before it.
///
/// Saves are written one after the other, in order. Removals of ModelCheckpoint wait for the saves before
/// them. An error of a save is thrown by the next save_checkpoint(), by wait(), or at the end of fit(); what
/// waited behind it is given up. The Trainer waits at the end of fit(), before a yield and before it loads a
/// checkpoint. A process that dies leaves whole checkpoints only. With several ranks the writing threads meet
/// in the job's store, so that no collective of the training is disturbed.
/// @thread the training thread.
class RTRAIN_API AsyncCheckpointIO : public CheckpointIO {
 public:
  /// @throws std::invalid_argument waiting_max less than 0, or a checkpoint_io that writes later itself.
  explicit AsyncCheckpointIO(AsyncCheckpointIOOptions options);
  AsyncCheckpointIO() : AsyncCheckpointIO(AsyncCheckpointIOOptions{}) {}
  /// Of one that is still to be used; the other is not used any more.
  AsyncCheckpointIO(AsyncCheckpointIO&& other) noexcept;
  AsyncCheckpointIO& operator=(AsyncCheckpointIO&&) = delete;
  /// Waits for all saves. An error that nobody got goes to stderr.
  ~AsyncCheckpointIO() override;
  [[nodiscard]] std::string name() const override { return "AsyncCheckpointIO"; }
  /// Of the CheckpointIO inside, at once.
  [[nodiscard]] std::unique_ptr<CheckpointDraft> begin(const std::filesystem::path& path, int rank) override;
  /// Waits for all saves. @throws what one of them threw.
  [[nodiscard]] std::unique_ptr<CheckpointFolder> open(const std::filesystem::path& path) override;
  /// Also true of one that is still to be written.
  [[nodiscard]] bool exists(const std::filesystem::path& path) override;
  /// Once the saves before it are written.
  void remove(const std::filesystem::path& path) override;
  [[nodiscard]] bool is_local() const override;

  [[nodiscard]] const std::shared_ptr<CheckpointIO>& checkpoint_io() const;  ///< the one inside
  [[nodiscard]] bool writes_later() const override { return true; }
  void wait() override;
  void wait_for_room() override;
  /// Waits for room. `task` gets the CheckpointIO inside.
  void save(const std::filesystem::path& path, std::function<void(CheckpointIO& io)> task) override;
  /// Takes no room.
  void after_saves(std::function<void()> task) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rtrain
