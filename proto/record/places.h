// What a rank names as its place in a RankDiagnosis besides the steps and collectives of training.
#pragma once

namespace rtrain::proto {

/// As the collective: the rank waits for the others in report(), and collective_seq is the number of the
/// report.
inline constexpr const char* kReportAsPlace = "report()";
/// As the stage: the rank loads its training library.
inline constexpr const char* kLoadStage = "load";

}  // namespace rtrain::proto
