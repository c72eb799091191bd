// The link between a Trainer and the module, and the data module, that it ran last.
#pragma once

#include <rtrain/data/data_module.h>
#include <rtrain/lightning_module.h>

#include <memory>

namespace rtrain {

class Trainer;

/// They share it; each clears its own pointer when it is destroyed.
struct Attachment {
  Trainer* trainer = nullptr;
  LightningModule* module = nullptr;
  LightningDataModule* data = nullptr;
  /// Null: none.
  [[nodiscard]] static Trainer* trainer_of(const std::shared_ptr<Attachment>& attachment) {
    return attachment ? attachment->trainer : nullptr;
  }
  /// Null: the module is not attached to one.
  [[nodiscard]] static Trainer* trainer_of(const LightningModule& module) {
    return trainer_of(module.attachment_);
  }
  static void tie(const std::shared_ptr<Attachment>& attachment, LightningModule& module);
  /// @param data null: the run has none.
  static void tie(const std::shared_ptr<Attachment>& attachment, LightningDataModule* data);
  static void capture_modes(LightningModule& module);
  static void restore_modes(LightningModule& module) { module.restore_modes(); }
};

}  // namespace rtrain
