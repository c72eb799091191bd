#include <rtrain/checkpoint_io.h>

#include "worker/runtime/work_queue.h"

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

std::string text_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an exception that is no std::exception";
  }
}

}  // namespace

struct AsyncCheckpointIO::Impl {
  explicit Impl(AsyncCheckpointIOOptions given)
      : checkpoint_io(std::move(given.checkpoint_io)), queue(given.waiting_max) {}
  std::shared_ptr<CheckpointIO> checkpoint_io;
  runtime::WorkQueue queue;
};

AsyncCheckpointIO::AsyncCheckpointIO(AsyncCheckpointIOOptions options) {
  if (options.waiting_max < 0)
    throw std::invalid_argument("AsyncCheckpointIO: waiting_max is " + std::to_string(options.waiting_max) +
                                ", expected 0 or more");
  if (!options.checkpoint_io) options.checkpoint_io = std::make_shared<LocalCheckpointIO>();
  if (options.checkpoint_io->writes_later())
    throw std::invalid_argument("AsyncCheckpointIO: checkpoint_io is " + options.checkpoint_io->name() +
                                ", which writes later itself; give the one that stores");
  impl_ = std::make_unique<Impl>(std::move(options));
}

AsyncCheckpointIO::AsyncCheckpointIO(AsyncCheckpointIO&& other) noexcept = default;

AsyncCheckpointIO::~AsyncCheckpointIO() {
  if (!impl_) return;
  try {
    wait();
  } catch (...) {
    std::fprintf(stderr, "rtrain: warning: a checkpoint was not written: %s\n",
                 text_of(std::current_exception()).c_str());
  }
}

const std::shared_ptr<CheckpointIO>& AsyncCheckpointIO::checkpoint_io() const { return impl_->checkpoint_io; }

std::unique_ptr<CheckpointDraft> AsyncCheckpointIO::begin(const std::filesystem::path& path, int rank) {
  return checkpoint_io()->begin(path, rank);
}

std::unique_ptr<CheckpointFolder> AsyncCheckpointIO::open(const std::filesystem::path& path) {
  wait();
  return checkpoint_io()->open(path);
}

bool AsyncCheckpointIO::exists(const std::filesystem::path& path) {
  return impl_->queue.contains(path.string()) || checkpoint_io()->exists(path);
}

void AsyncCheckpointIO::remove(const std::filesystem::path& path) {
  after_saves([io = checkpoint_io(), path] {
    try {
      io->remove(path);
    } catch (const std::exception& failed) {  // one too many is no reason to end the training
      std::fprintf(stderr, "rtrain: warning: %s\n", failed.what());
    }
  });
}

bool AsyncCheckpointIO::is_local() const { return checkpoint_io()->is_local(); }

void AsyncCheckpointIO::wait() { impl_->queue.wait(); }

void AsyncCheckpointIO::wait_for_room() { impl_->queue.wait_for_room(); }

void AsyncCheckpointIO::save(const std::filesystem::path& path, std::function<void(CheckpointIO& io)> task) {
  impl_->queue.push(path.string(), [io = checkpoint_io(), task = std::move(task)] { task(*io); });
}

void AsyncCheckpointIO::after_saves(std::function<void()> task) { impl_->queue.push_small(std::move(task)); }

[[maybe_unused]] static const bool kAsyncCheckpointIONamed =
    (Names<CheckpointIO>::add("AsyncCheckpointIO",
                              [](OptionReader& reader) -> std::shared_ptr<CheckpointIO> {
                                AsyncCheckpointIOOptions options;
                                nlohmann::json inside;
                                reader.read("checkpoint_io", inside);
                                reader.read("waiting_max", options.waiting_max);
                                reader.finish();
                                if (!inside.is_null())
                                  options.checkpoint_io = Names<CheckpointIO>::from_json(inside);
                                return std::make_shared<AsyncCheckpointIO>(std::move(options));
                              }),
     true);

}  // namespace rtrain
