// What the callbacks that decide by metrics share: every rank decides alike, by rank 0's values.
#pragma once

#include <rtrain/trainer.h>

#include <map>
#include <string>

namespace rtrain {

/// Rank 0's metrics on every rank; a collective with several ranks.
[[nodiscard]] Metrics agreed_metrics(Trainer& trainer, const Metrics& own);
/// Warns once when the ranks' own values of `name` differ: it was logged without sync_dist. A collective
/// until it has warned.
void warn_if_unsynced(Trainer& trainer, const std::string& who, const std::string& name, const Metrics& own,
                      bool& warned);
/// "loss, val_loss"; "none".
[[nodiscard]] std::string names_of(const Metrics& metrics);

}  // namespace rtrain
