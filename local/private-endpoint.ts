import type { RequestListener } from './server.ts';

/** The AWS services that our own functions call beside DynamoDB, on one port. */
export type PrivateServices = {
  eventBridge: RequestListener;
  sqs: RequestListener;
  lambda: RequestListener;
};

/** Gives each request to the service that it is for. Lambda is known by its paths, the others by what they are asked to do. */
export function createPrivateEndpoint({ eventBridge, sqs, lambda }: PrivateServices): RequestListener {
  return (request, response) => {
    if (request.url?.startsWith('/2015-03-31/') === true) return lambda(request, response);
    const target = request.headers['x-amz-target'];
    return String(target).startsWith('AmazonSQS.') ? sqs(request, response) : eventBridge(request, response);
  };
}
