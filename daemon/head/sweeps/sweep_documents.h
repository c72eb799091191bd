// From sweeps to the documents of the user API. Pure.
#pragma once

#include "daemon/head/sweeps/sweep_book.h"

namespace rtrain::head {

[[nodiscard]] proto::SweepDoc sweep_doc(const SweepEntry& entry);
/// @param number  of a trial that there is
[[nodiscard]] proto::TrialDoc trial_doc(const core::SweepState& state, std::int64_t number);

}  // namespace rtrain::head
