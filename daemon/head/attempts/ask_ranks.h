// Questions to the ranks of an attempt, by way of their agents.
#pragma once

#include "daemon/head/head_context.h"

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rtrain::head {

/// Asks the ranks that `question` names, each node for its own.
/// @param version of the protocol, in which agents know the question. @param verb in front of its user:
/// "rtrain debug"
/// @param unasked (RankKey, why) of each rank that cannot be asked
template <class Question, class Unasked>
void ask_ranks(HeadContext& context, const core::JobState& state, const Question& question, int version,
               std::string_view verb, const Unasked& unasked) {
  std::map<std::string, std::vector<int>> asked_of;
  for (const int rank : question.ranks) {
    const auto& node = state.ranks[static_cast<std::size_t>(rank)].placement.node;
    const proto::RankKey key{state.id, question.attempt, rank};
    const auto session = context.nodes.session(node);
    if (!session)
      unasked(key, "node " + node + " is not connected");
    else if (session->version() < version)
      unasked(key, "the agent of node " + node + " is older than " + std::string(verb) + ": upgrade it");
    else
      asked_of[node].push_back(rank);
  }
  for (auto& [node, ranks] : asked_of) {
    auto message = question;
    message.ranks = std::move(ranks);
    send_when_durable(context.gate, context.nodes.session(node), message);
  }
}

}  // namespace rtrain::head
