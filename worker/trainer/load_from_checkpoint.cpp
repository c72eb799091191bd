#include <rtrain/load_from_checkpoint.h>

#include "worker/checkpoint/module_state.h"
#include "worker/trainer/trainer_impl.h"

#include <stdexcept>

namespace rtrain::detail {

TrainerCheckpoint read_for_module(const std::filesystem::path& path) {
  if (path.empty())
    throw std::invalid_argument("load_from_checkpoint: there is no checkpoint: the path is empty");
  LocalCheckpointIO io;
  return read_checkpoint(path, /*rank=*/0, io);
}

void load_into(LightningModule& module, const TrainerCheckpoint& content) {
  module.on_load_checkpoint(content);
  warn_of_misfits(load_state(module, content.model, module.strict_loading()));
}

}  // namespace rtrain::detail
