#include <rtrain/checkpoint_io.h>

namespace rtrain {

void CheckpointIO::save(const std::filesystem::path&, std::function<void(CheckpointIO& io)> task) {
  task(*this);
}

void CheckpointIO::after_saves(std::function<void()> task) { task(); }

}  // namespace rtrain
