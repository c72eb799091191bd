// A CheckpointIO without a file system.
#pragma once

#include <rtrain/checkpoint_io.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace rtrain::test {

/// Checkpoints by path, each its files by name. `said` lists the calls: "begin c", "write
/// c/model.safetensors", "publish c", "remove c". `before_write` runs before each file is written, and may
/// throw or wait.
/// @thread any
class MemoryIO : public CheckpointIO {
 public:
  using Files = std::map<std::string, std::string>;
  std::function<void(const std::string& file)> before_write;

  [[nodiscard]] std::string name() const override { return "MemoryIO"; }
  [[nodiscard]] std::unique_ptr<CheckpointDraft> begin(const std::filesystem::path& path, int) override {
    say("begin " + path.filename().string());
    return std::make_unique<Draft>(*this, path.string());
  }
  [[nodiscard]] std::unique_ptr<CheckpointFolder> open(const std::filesystem::path& path) override {
    const std::lock_guard lock(mutex_);
    const auto found = stored_.find(path.string());
    if (found == stored_.end()) return nullptr;
    return std::make_unique<Folder>(found->second);
  }
  void remove(const std::filesystem::path& path) override {
    say("remove " + path.filename().string());
    const std::lock_guard lock(mutex_);
    stored_.erase(path.string());
  }
  [[nodiscard]] std::map<std::string, Files> stored() const {
    const std::lock_guard lock(mutex_);
    return stored_;
  }
  [[nodiscard]] std::vector<std::string> said() const {
    const std::lock_guard lock(mutex_);
    return said_;
  }

 private:
  class File final : public CheckpointFile {
   public:
    explicit File(std::string text) : text_(std::move(text)) {}
    [[nodiscard]] std::uint64_t size() const override { return text_.size(); }
    void read(std::uint64_t at, void* into, std::size_t size) override {
      if (at + size > text_.size()) throw std::runtime_error("too short");
      std::memcpy(into, text_.data() + at, size);
    }

   private:
    std::string text_;
  };
  static std::unique_ptr<CheckpointFile> file_of(const Files& files, const std::string& name) {
    const auto found = files.find(name);
    if (found == files.end()) return nullptr;
    return std::make_unique<File>(found->second);
  }
  class Folder final : public CheckpointFolder {
   public:
    explicit Folder(Files files) : files_(std::move(files)) {}
    [[nodiscard]] std::unique_ptr<CheckpointFile> open(const std::string& name) const override {
      return file_of(files_, name);
    }

   private:
    Files files_;
  };
  class Draft final : public CheckpointDraft {
   public:
    Draft(MemoryIO& io, std::string path) : io_(io), path_(std::move(path)) {}
    void write(const std::string& name, const Content& content) override {
      if (io_.before_write) io_.before_write(name);
      std::string text;
      content([&](std::string_view piece) { text += piece; });
      files_[name] = std::move(text);
    }
    [[nodiscard]] std::unique_ptr<CheckpointFile> open(const std::string& name) const override {
      return file_of(files_, name);
    }
    void publish() override {
      io_.say("publish " + std::filesystem::path(path_).filename().string());
      const std::lock_guard lock(io_.mutex_);
      io_.stored_[path_] = files_;
    }

   private:
    MemoryIO& io_;
    std::string path_;
    Files files_;
  };
  void say(std::string line) {
    const std::lock_guard lock(mutex_);
    said_.push_back(std::move(line));
  }

  mutable std::mutex mutex_;
  std::map<std::string, Files> stored_;
  std::vector<std::string> said_;
};

}  // namespace rtrain::test
