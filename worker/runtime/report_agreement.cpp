#include "worker/runtime/report_agreement.h"

#include <algorithm>
#include <charconv>

namespace rtrain::runtime {
namespace {

std::string report_key(int rank) { return "report/" + std::to_string(rank); }
std::string finished_key(int rank) { return "finished/" + std::to_string(rank); }
std::string staged_key(std::int64_t n, int rank) {
  return "staged/" + std::to_string(n) + "/" + std::to_string(rank);
}
std::string published_key(std::int64_t n) { return "published/" + std::to_string(n); }

Result<std::string> outcome(const std::string& text) {
  if (text.starts_with('+')) return text.substr(1);
  return fail(Errc::kIo, text.substr(std::min<std::size_t>(1, text.size())));
}

}  // namespace

ReportAgreement::ReportAgreement(KeyValueStore& store, int rank, int world_size,
                                 std::function<bool()> wait_more)
    : store_(store), rank_(rank), world_size_(world_size), wait_more_(std::move(wait_more)) {}

void ReportAgreement::pass(std::int64_t n) { store_.set(report_key(rank_), std::to_string(n)); }

void ReportAgreement::finish() { store_.set(finished_key(rank_), ""); }

std::optional<Error> ReportAgreement::never_comes(int rank, std::int64_t n) {
  if (!store_.get(finished_key(rank))) return std::nullopt;
  const auto last = last_report(rank);  // its last one was told before its end was
  if (last >= n) return std::nullopt;
  return fail(Errc::kInvalidArgument,
              "report() number " + std::to_string(n) + " with a checkpoint: rank " + std::to_string(rank_) +
                  " waits for rank " + std::to_string(rank) +
                  ", whose training function has returned after " + std::to_string(last) + " call" +
                  (last == 1 ? "" : "s") +
                  " of report(); every rank must call report() the same number of times");
}

Result<std::string> ReportAgreement::settle(std::int64_t n, const Result<Done>& staged,
                                            const std::function<Result<std::string>()>& publish,
                                            const std::string& name) {
  store_.set(staged_key(n, rank_), staged ? "+" + name : "-" + staged.error().message());
  pass(n);
  return rank_ == 0 ? settle_as_first(n, name, publish) : await_first(n);
}

bool ReportAgreement::await_rank_0(std::int64_t n) {
  while (last_report(0) < n || store_.get(staged_key(n, 0))) {
    if (store_.get(finished_key(0)) && last_report(0) < n) return false;
    if (!wait_more_()) return false;
  }
  return true;
}

std::int64_t ReportAgreement::last_report(int rank) {
  const auto text = store_.get(report_key(rank)).value_or("0");
  std::int64_t n = 0;
  std::from_chars(text.data(), text.data() + text.size(), n);
  return n;
}

Result<std::string> ReportAgreement::settle_as_first(std::int64_t n, const std::string& name,
                                                     const std::function<Result<std::string>()>& publish) {
  std::string result;
  for (int rank = 0; rank < world_size_; ++rank) {
    while (last_report(rank) < n) {
      if (auto error = never_comes(rank, n)) return std::move(*error);
      if (!wait_more_())
        return fail(Errc::kTimeout,
                    "report() number " + std::to_string(n) + ": rank " + std::to_string(rank) +
                        " has not called it; every rank must call report() the same number of times");
    }
    const auto staged = store_.get(staged_key(n, rank));
    if (!staged || !result.empty()) continue;
    if (!staged->starts_with('+'))
      result =
          "-rank " + std::to_string(rank) + ": " + staged->substr(std::min<std::size_t>(1, staged->size()));
    else if (staged->substr(1) != name)
      result = "-rank " + std::to_string(rank) + " calls the checkpoint \"" + staged->substr(1) +
               "\" and rank 0 \"" + name + "\"; all ranks must call it the same";
  }
  if (result.empty()) {
    const auto published = publish();
    result = published ? "+" + *published : "-rank 0: " + published.error().message();
  }
  store_.set(published_key(n), result);
  for (int rank = 0; rank < world_size_; ++rank) store_.remove(staged_key(n, rank));
  // Everyone is at report n, so nobody waits for an older one any more.
  if (published_ > 0) store_.remove(published_key(published_));
  published_ = n;
  return outcome(result);
}

Result<std::string> ReportAgreement::await_first(std::int64_t n) {
  for (;;) {
    if (const auto published = store_.get(published_key(n))) return outcome(*published);
    if (last_report(0) >= n && !store_.get(staged_key(n, 0))) {
      // Rank 0 stages before it says that it is at report n, and takes its key away only after it has
      // published.
      if (const auto published = store_.get(published_key(n))) return outcome(*published);
      store_.remove(staged_key(n, rank_));
      return fail(Errc::kInvalidArgument,
                  "report() number " + std::to_string(n) + ": rank " + std::to_string(rank_) +
                      " passes a checkpoint but rank 0 does not; rank 0 must pass one too");
    }
    if (auto error = never_comes(0, n)) return std::move(*error);
    if (!wait_more_())
      return fail(Errc::kTimeout, "report() number " + std::to_string(n) + ": rank 0 has not called it");
  }
}

}  // namespace rtrain::runtime
