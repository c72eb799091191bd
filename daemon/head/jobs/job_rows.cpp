#include "daemon/head/jobs/job_rows.h"

namespace rtrain::head {

const JobRow* JobRows::find(JobId id) {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return nullptr;
  rows_.splice(rows_.begin(), rows_, found->second);
  return &rows_.front();
}

const JobRow& JobRows::put(JobRow row) {
  forget(row.id);
  bytes_ += size_of(row);
  rows_.push_front(std::move(row));
  by_id_[rows_.front().id] = rows_.begin();
  while (bytes_ > kRowBytesMax && rows_.size() > 1) drop(std::prev(rows_.end()));
  return rows_.front();
}

void JobRows::forget(JobId id) {
  if (const auto found = by_id_.find(id); found != by_id_.end()) drop(found->second);
}

void JobRows::drop(std::list<JobRow>::iterator row) {
  bytes_ -= size_of(*row);
  by_id_.erase(row->id);
  rows_.erase(row);
}

const std::string* JobRows::page(const std::string& question, std::uint64_t epoch) const {
  const auto found = pages_.find(question);
  return found == pages_.end() || found->second.epoch != epoch ? nullptr : &found->second.text;
}

void JobRows::put_page(const std::string& question, std::uint64_t epoch, std::string text) {
  std::erase_if(pages_, [&](const auto& page) { return page.second.epoch != epoch; });
  if (pages_.size() >= kPagesMax) pages_.clear();
  if (text.size() <= kPageBytesMax) pages_[question] = {epoch, std::move(text)};
}

}  // namespace rtrain::head
