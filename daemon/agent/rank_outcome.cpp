#include "daemon/agent/rank_outcome.h"

#include "common/os/file.h"

namespace rtrain::agent {

LastWords read_last_words(const std::string& rank_dir) {
  LastWords words;
  if (auto error = proto::read_error(rank_dir)) words.error = std::move(*error);
  if (auto outcome = proto::read_outcome(rank_dir))
    words.outcome = std::move(*outcome);
  else if (outcome.error().code() != Errc::kNotFound)
    words.unreadable = outcome.error().message();
  words.log_tail = os::tail_lines(proto::log_path(rank_dir), 20);
  return words;
}

proto::RankEnded compose_end(const proto::RankKey& key, const proto::ExitStatus& status, bool is_train_func,
                             LastWords words, bool asked_to_yield) {
  proto::RankEnded end;
  end.key = key;
  end.status = status;
  const bool returned = words.outcome.has_value();
  end.yielded = !status.lost && (returned ? words.outcome->yielded : asked_to_yield);
  if (status.success() && (!is_train_func || returned)) {
    if (returned) end.return_value = std::move(words.outcome->return_value);
    return end;
  }
  if (words.error) {
    end.error = std::move(words.error);
  } else if (status.lost) {
    end.error = proto::RankError{"lost", to_string(status), {}};
  } else if (status.signal) {
    end.error = proto::RankError{"signal", to_string(status), {}};
  } else {
    const bool early = is_train_func && !returned;
    const auto why = !early ? ""
                     : words.unreadable.empty()
                         ? " before the training function returned"
                         : ", and what its training function returned cannot be read: " + words.unreadable;
    end.error = proto::RankError{"exit", to_string(status) + why, {}};
  }
  if (end.error->log_tail.empty())
    end.error->log_tail = std::move(words.log_tail);  // at a crash: what stood before the stack
  return end;
}

}  // namespace rtrain::agent
