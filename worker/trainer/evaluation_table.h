// What an evaluation has measured, for people.
#pragma once

#include <rtrain/export.h>
#include <rtrain/trainer.h>

#include <string>
#include <vector>

namespace rtrain {

/// A row for each metric and a column for each loader, whose mark ("/dataloader_idx_1") is left out of the
/// names. Empty: there are no metrics. @param what "Test".
[[nodiscard]] RTRAIN_API std::string evaluation_table(const std::string& what,
                                                      const std::vector<Metrics>& by_loader);

}  // namespace rtrain
