#include "daemon/head/head_context.h"

namespace rtrain::head {

void send_when_durable(OutputGate& gate, const std::shared_ptr<AgentLine>& session, proto::Message message,
                       std::function<void()> lost) {
  gate.after_events([session, message = std::move(message), lost = std::move(lost)] {
    if ((!session || !session->send(message)) && lost) lost();
  });
}

}  // namespace rtrain::head
