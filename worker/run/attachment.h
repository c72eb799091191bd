// The link between a Trainer and the module that it ran last.
#pragma once

#include <rtrain/lightning_module.h>

#include <memory>

namespace rtrain {

class Trainer;

/// Trainer and module share it; each clears its own pointer when it is destroyed.
struct Attachment {
  Trainer* trainer = nullptr;
  LightningModule* module = nullptr;
  /// Null: none.
  [[nodiscard]] static Trainer* trainer_of(const std::shared_ptr<Attachment>& attachment) {
    return attachment ? attachment->trainer : nullptr;
  }
  static void tie(const std::shared_ptr<Attachment>& attachment, LightningModule& module);
  static void capture_modes(LightningModule& module);
  static void restore_modes(LightningModule& module) { module.restore_modes(); }
};

}  // namespace rtrain
