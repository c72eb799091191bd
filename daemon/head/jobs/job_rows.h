// The rows of GET /v1/jobs as the text that goes out: made when a job has changed, not when somebody asks.
#pragma once

#include "daemon/head/jobs/job_book.h"

#include <list>
#include <string>
#include <unordered_map>

namespace rtrain::head {

/// What a list needs of a job: its row, and what filters look at.
struct JobRow {
  JobId id;
  core::JobPhase phase = core::JobPhase::kQueued;
  std::string user;
  std::int64_t array = 0;  ///< the number of its array; 0: it is a job of its own
  std::string text;        ///< JobDoc
  // What it was made of.
  std::uint64_t state_version = 0, progress_version = 0;
  std::uint64_t epoch = 0;  ///< of a job that waits: why it does depends on others
};

/// Rows by job, and the pages that were asked for last. Of limited size: what was not used for longest goes.
/// @thread the head's
class JobRows {
 public:
  static constexpr std::size_t kRowBytesMax = 64 << 20, kPagesMax = 16, kPageBytesMax = 4 << 20;

  /// Null: there is none. Good until the next put().
  [[nodiscard]] const JobRow* find(JobId id);
  const JobRow& put(JobRow row);
  void forget(JobId id);

  /// A page as of `epoch`; null when something may have changed since.
  [[nodiscard]] const std::string* page(const std::string& question, std::uint64_t epoch) const;
  void put_page(const std::string& question, std::uint64_t epoch, std::string text);

  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  [[nodiscard]] static std::size_t size_of(const JobRow& row) {
    return sizeof(JobRow) + row.text.size() + row.user.size();
  }
  void drop(std::list<JobRow>::iterator row);
  std::list<JobRow> rows_;  ///< newest use first
  std::unordered_map<JobId, std::list<JobRow>::iterator> by_id_;
  std::size_t bytes_ = 0;
  struct Page {
    std::uint64_t epoch;
    std::string text;
  };
  std::unordered_map<std::string, Page> pages_;
};

}  // namespace rtrain::head
